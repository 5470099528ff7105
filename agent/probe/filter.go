package probe

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vetch-dev/vetch/bpf"
)

// filter keeps the set of cgroups whose traffic the kernel programs drop.
type filter struct {
	globs []string
	roots []string
	maps  *bpf.VetchMaps
	log   *slog.Logger
	known map[uint64]bool
}

// newFilter puts the cgroups that match now into the kernel's set, before any program is attached.
func newFilter(globs []string, maps *bpf.VetchMaps, log *slog.Logger) (*filter, error) {
	for _, g := range globs {
		if _, err := path.Match(g, "/"); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", g, err)
		}
	}
	f := &filter{globs: globs, maps: maps, log: log, known: map[uint64]bool{}, roots: cgroupRoots("/sys/fs/cgroup")}
	f.refresh()
	return f, nil
}

// cgroupRoots lists the hierarchies that owners are identified by: version 2, and the memory controller of version 1.
func cgroupRoots(base string) []string {
	var out []string
	for _, dir := range []string{base, filepath.Join(base, "unified"), filepath.Join(base, "memory")} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			out = append(out, dir)
		}
	}
	return out
}

// refresh adds cgroups that came since, and takes out those that are gone.
func (f *filter) refresh() {
	if len(f.globs) == 0 {
		return
	}
	found := map[uint64]bool{}
	for _, root := range f.roots {
		f.scan(root, found)
	}
	for id := range found {
		if f.known[id] {
			continue
		}
		if err := f.maps.Ignored.Put(id, uint8(1)); err != nil {
			f.log.Warn("cannot ignore cgroup", "cgroup_id", id, "error", err)
			delete(found, id)
			continue
		}
		f.markOwners(id)
	}
	for id := range f.known {
		if !found[id] {
			f.maps.Ignored.Delete(id) //nolint:errcheck // it is gone either way
		}
	}
	f.known = found
}

// scan collects the inodes of matching directories; a match covers all below it.
func (f *filter) scan(root string, found map[uint64]bool) {
	matched := ""
	filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error { //nolint:errcheck // what vanishes while it is read is no error
		if err != nil || !d.IsDir() {
			return nil
		}
		rel := "/" + strings.Trim(strings.TrimPrefix(name, root), "/")
		below := matched != "" && strings.HasPrefix(rel, matched+"/")
		if !below && !f.match(rel) {
			return nil
		}
		if !below {
			matched = rel
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				found[st.Ino] = true
			}
		}
		return nil
	})
}

func (f *filter) match(rel string) bool {
	for _, g := range f.globs {
		if ok, _ := path.Match(g, rel); ok {
			return true
		}
	}
	return false
}

// markOwners makes owners that were recorded before their cgroup matched ignored too.
func (f *filter) markOwners(cgroup uint64) {
	var id uint64
	var o bpf.VetchOwnerT
	it := f.maps.Owners.Iterate()
	for it.Next(&id, &o) {
		if o.CgroupV1 == cgroup || o.CgroupV2 == cgroup {
			o.Ignored = 1
			f.maps.Owners.Put(id, &o) //nolint:errcheck // the owner is gone
		}
	}
}
