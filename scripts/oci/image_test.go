package oci

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func example(t *testing.T) Image {
	t.Helper()
	source := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(source, []byte("a program"), 0o600))
	files := []File{
		{Path: "/usr/bin/program", Source: source, Mode: 0o755},
		{Path: "/usr/bin/link", Link: "program"},
		{Path: "/etc/motd", Text: "hello"},
		{Path: "/tmp", Dir: true, Mode: 0o777 | os.ModeSticky},
		{Path: "/data", Dir: true, Mode: 0o750, Owner: 7},
	}
	return Image{
		Name: "localhost/example:1", Entrypoint: []string{"/usr/bin/program"}, Args: []string{"-x"}, User: "7:7", Ports: []string{"80/tcp"},
		Labels: map[string]string{"a": "b"}, Platforms: []Platform{{"amd64", files}, {"arm64", files}},
	}
}

// files reads an archive into a map.
func files(t *testing.T, r io.Reader) (text map[string]string, headers map[string]*tar.Header) {
	t.Helper()
	text, headers = map[string]string{}, map[string]*tar.Header{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return text, headers
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		text[h.Name], headers[h.Name] = string(content), h
	}
}

type descriptor struct {
	Digest      string
	Annotations map[string]string
	Platform    struct{ OS, Architecture string }
}

func TestImage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, example(t).Write(out))
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	blobs, _ := files(t, f)
	read := func(digest string, into any) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(blobs["blobs/sha256/"+digest[len("sha256:"):]]), into))
	}
	var outer, index struct{ Manifests []descriptor }
	require.NoError(t, json.Unmarshal([]byte(blobs["index.json"]), &outer))
	require.Len(t, outer.Manifests, 1)
	require.Equal(t, "localhost/example:1", outer.Manifests[0].Annotations["io.containerd.image.name"])
	read(outer.Manifests[0].Digest, &index)
	require.Len(t, index.Manifests, 2)
	for i, architecture := range []string{"amd64", "arm64"} {
		require.Equal(t, architecture, index.Manifests[i].Platform.Architecture)
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		read(index.Manifests[i].Digest, &manifest)
		var config struct {
			OS, Architecture string
			Created          time.Time
			Config           struct {
				User            string
				Entrypoint, Cmd []string
				Labels          map[string]string
				ExposedPorts    map[string]struct{}
			}
		}
		read(manifest.Config.Digest, &config)
		require.Equal(t, architecture, config.Architecture)
		require.Equal(t, "linux", config.OS)
		require.Zero(t, config.Created.Unix())
		require.Equal(t, "7:7", config.Config.User)
		require.Equal(t, []string{"/usr/bin/program"}, config.Config.Entrypoint)
		require.Equal(t, []string{"-x"}, config.Config.Cmd)
		require.Equal(t, map[string]string{"a": "b"}, config.Config.Labels)
		require.Contains(t, config.Config.ExposedPorts, "80/tcp")

		require.Len(t, manifest.Layers, 1)
		holdsExample(t, blobs["blobs/sha256/"+manifest.Layers[0].Digest[len("sha256:"):]])
	}
}

func holdsExample(t *testing.T, layer string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "layer")
	require.NoError(t, os.WriteFile(name, []byte(layer), 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	require.NoError(t, err)
	text, headers := files(t, unzipped)
	require.Equal(t, map[string]string{
		"data/": "", "etc/": "", "etc/motd": "hello", "tmp/": "", "usr/": "", "usr/bin/": "", "usr/bin/link": "", "usr/bin/program": "a program",
	}, text)
	modes := map[string]int64{}
	for name, h := range headers {
		modes[name] = h.Mode
		require.Zero(t, h.ModTime.Unix(), name)
	}
	require.Equal(t, map[string]int64{
		"data/": 0o750, "etc/": 0o755, "etc/motd": 0o644, "tmp/": 0o1777, "usr/": 0o755, "usr/bin/": 0o755, "usr/bin/link": 0o777, "usr/bin/program": 0o755,
	}, modes)
	require.Equal(t, "program", headers["usr/bin/link"].Linkname)
	require.Equal(t, 7, headers["data/"].Uid)
}

func TestImageIsReproducible(t *testing.T) {
	var first []byte
	for i := range 2 {
		out := filepath.Join(t.TempDir(), "image.tar")
		require.NoError(t, example(t).Write(out)) // of files that are written anew
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		if i == 0 {
			first = data
		} else {
			require.Equal(t, first, data)
		}
		left, err := os.ReadDir(filepath.Dir(out))
		require.NoError(t, err)
		require.Len(t, left, 1, "work folders are removed")
	}
}

func TestImageThatCannotBe(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	require.ErrorContains(t, Image{Name: "x:1"}.Write(out), "without a platform")
	for name, f := range map[string]File{"is not absolute": {Path: "etc/motd"}, "no such file": {Path: "/program", Source: "/nonexistent"}} {
		require.ErrorContains(t, Image{Name: "x:1", Platforms: []Platform{{"amd64", []File{f}}}}.Write(out), name)
	}
	require.NoFileExists(t, out)
}
