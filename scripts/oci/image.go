// Package oci makes container images of files, without Docker and the same bytes each time.
package oci

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is what an image says of itself, and what it holds for each platform.
type Image struct {
	Name       string // HOST/PATH:TAG
	Entrypoint []string
	Args       []string // the default ones
	User       string   // UID:GID; "" is root
	Ports      []string // "4780/tcp"
	Labels     map[string]string
	Created    time.Time // of the image and all files in it; zero is 1970
	Platforms  []Platform
}

// Platform is the content for one kind of machine.
type Platform struct {
	Architecture string // as in GOARCH
	Files        []File
}

// The keys by which containerd, Docker and Podman name an image that they read from an archive.
const (
	containerdName = "io.containerd.image.name"
	referenceName  = "org.opencontainers.image.ref.name"
)

// Write makes an archive of an OCI image layout with one image index in it. Docker 25+, Podman, skopeo and "ctr images import" read it.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
func (i Image) Write(file string) error {
	if len(i.Platforms) == 0 {
		return errors.New("an image without a platform")
	}
	if i.Created.IsZero() {
		i.Created = time.Unix(0, 0)
	}
	index, err := i.index()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".layout-")
	if err != nil {
		return fmt.Errorf("make a work folder: %w", err)
	}
	defer os.RemoveAll(dir)
	outer := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		Annotations: map[string]string{containerdName: i.Name, referenceName: i.Name},
	}})
	if _, err := layout.Write(dir, outer); err != nil {
		return fmt.Errorf("write image layout: %w", err)
	}
	return archive(file, dir, i.Created)
}

func (i Image) index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range i.Platforms {
		image, err := i.on(p)
		if err != nil {
			return nil, fmt.Errorf("make image for %s: %w", p.Architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: p.Architecture},
		}})
	}
	return index, nil
}

// on makes the image for one platform: one layer with all files.
func (i Image) on(p Platform) (v1.Image, error) {
	content, err := layerOf(p.Files, i.Created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(content, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
	if err != nil {
		return nil, fmt.Errorf("compress layer: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: i.Created.UTC()}}})
	if err != nil {
		return nil, fmt.Errorf("add layer: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", p.Architecture, v1.Time{Time: i.Created.UTC()}
	file.Config = v1.Config{
		Entrypoint: i.Entrypoint, Cmd: i.Args, User: i.User, Labels: i.Labels, WorkingDir: "/",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"},
	}
	for _, port := range i.Ports {
		if file.Config.ExposedPorts == nil {
			file.Config.ExposedPorts = map[string]struct{}{}
		}
		file.Config.ExposedPorts[port] = struct{}{}
	}
	return mutate.ConfigFile(image, file)
}

// opener gives the bytes of a layer anew each time.
type opener = func() (io.ReadCloser, error)
