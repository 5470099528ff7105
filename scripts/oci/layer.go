package oci

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// File is one file, folder or link of an image.
type File struct {
	Path   string // absolute
	Source string // the file that it is a copy of; "" where Text says what is in it
	Text   string
	Link   string // the target of a symbolic link
	Dir    bool
	Mode   fs.FileMode // permissions, and ModeSticky; 0 is 0755 of folders, else 0644
	Owner  int         // user and group
}

// layerOf packs files in the order of their paths, with the folders above them. Of two with one path the later wins.
func layerOf(files []File, when time.Time) (opener, error) {
	all := map[string]File{}
	for _, f := range files {
		if !path.IsAbs(f.Path) {
			return nil, fmt.Errorf("path %q in an image is not absolute", f.Path)
		}
		f.Path = path.Clean(f.Path)
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if _, there := all[dir]; !there {
				all[dir] = File{Path: dir, Dir: true}
			}
		}
		all[f.Path] = f
	}
	sorted := make([]File, 0, len(all))
	for _, f := range all {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range sorted {
		if err := f.pack(w, when); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack layer: %w", err)
	}
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }, nil
}

func (f File) pack(w *tar.Writer, when time.Time) error {
	text := []byte(f.Text)
	if f.Source != "" {
		var err error
		if text, err = os.ReadFile(f.Source); err != nil {
			return err
		}
	}
	h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Mode: int64(f.Mode.Perm()), Uid: f.Owner, Gid: f.Owner, ModTime: when, Format: tar.FormatUSTAR}
	switch {
	case f.Dir:
		h.Typeflag, h.Name, text = tar.TypeDir, h.Name+"/", nil
		h.Mode = int64(cmp.Or(f.Mode.Perm(), 0o755))
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode, text = tar.TypeSymlink, f.Link, 0o777, nil
	default:
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, int64(len(text)), int64(cmp.Or(f.Mode.Perm(), 0o644))
	}
	if f.Mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

// archive packs a folder, the same bytes each time.
func archive(to, dir string, when time.Time) error {
	out, err := os.Create(to + ".new")
	if err != nil {
		return fmt.Errorf("make archive: %w", err)
	}
	w := tar.NewWriter(out)
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return File{Path: "/" + filepath.ToSlash(rel), Source: name}.pack(w, when)
	})
	if err = errors.Join(err, w.Close(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("write archive: %w", err), os.Remove(to+".new"))
	}
	return os.Rename(to+".new", to)
}
