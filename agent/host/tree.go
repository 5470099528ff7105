package host

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/transport/kubelet"
)

// The bounds of the tree of cgroups.
const (
	maxGroups = 4096  // containers, pods and units that are followed
	maxDirs   = 32768 // folders that are looked at in one round
	maxDepth  = 32
)

// mount is where a controller is found.
type mount struct {
	dir     string // on this file system; "" where the kernel has it not
	unified bool   // version 2
}

// tree is the machine's cgroups.
type tree struct {
	mounts    [controllers]mount
	cpuLimits string // version 1: the controller cpu, where it is mounted apart from cpuacct
}

// findTree reads where cgroups are mounted: the mount points of a process, and the file system in which these are.
func findTree(mountinfo, root string) (tree, error) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return tree{}, err
	}
	dirs := parseMounts(string(text))
	var t tree
	for c, names := range [controllers][]string{cpuController: {"cpuacct"}, memoryController: {"memory"}, ioController: {"blkio"}} {
		for _, name := range names {
			if dir := dirs[name]; dir != "" {
				t.mounts[c] = mount{dir: filepath.Join(root, dir)}
			}
		}
		if t.mounts[c].dir == "" && dirs["unified"] != "" {
			t.mounts[c] = mount{dir: filepath.Join(root, dirs["unified"]), unified: true}
		}
	}
	if cpu := dirs["cpu"]; cpu != "" && cpu != dirs["cpuacct"] {
		t.cpuLimits = filepath.Join(root, cpu)
	}
	return t, nil
}

// parseMounts reads /proc/PID/mountinfo (proc(5)): the mount point of each controller of version 1, and that of version 2 as "unified". Of
// several the one below /sys/fs/cgroup goes first.
func parseMounts(text string) map[string]string {
	found := make(map[string]string)
	put := func(name, dir string) {
		if found[name] == "" || !strings.HasPrefix(found[name], "/sys/fs/cgroup") && strings.HasPrefix(dir, "/sys/fs/cgroup") {
			found[name] = dir
		}
	}
	for line := range strings.Lines(text) {
		head, tail, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		before, after := strings.Fields(head), strings.Fields(tail)
		if !ok || len(before) < 5 || len(after) < 3 {
			continue
		}
		dir := unescapeMount(before[4])
		switch after[0] {
		case "cgroup2":
			put("unified", dir)
		case "cgroup":
			for option := range strings.SplitSeq(after[2], ",") {
				switch option {
				case "cpu", "cpuacct", "memory", "blkio":
					put(option, dir)
				}
			}
		}
	}
	return found
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// found is a cgroup that is a container, a pod or a unit.
type found struct {
	path  string // relative to the mounts
	place process.Place
	pod   string // the uid, where it is a pod's own
	dirs  [controllers]string
	inode uint64 // of one of its folders: another one is another cgroup

	// Where the kubelet tells of it, and not the kernel: what it says, and what it says of that which holds the network of a pod; and whether it was
	// there already at the answer before.
	told, network *kubelet.Group
	early         bool
}

// walk lists the containers, pods and units of all hierarchies by their paths. whole is false where a bound ended it.
func (t *tree) walk() (list map[string]*found, whole bool) {
	w := walker{list: make(map[string]*found), left: maxDirs, whole: true}
	for c, m := range t.mounts {
		switch {
		case m.dir == "":
		case c == ioController, c > 0 && m == t.mounts[0]: // looked up by the paths of the others
		default:
			w.controller, w.root = c, m.dir
			w.folder("", process.Place{}, 0)
		}
	}
	for _, f := range w.list {
		for c, m := range t.mounts {
			if m.dir == "" || f.dirs[c] != "" {
				continue
			}
			if dir := filepath.Join(m.dir, f.path); isFolder(dir) {
				f.dirs[c] = dir
			}
		}
	}
	return w.list, w.whole
}

func isFolder(dir string) bool {
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

type walker struct {
	list       map[string]*found
	left       int
	whole      bool
	controller int
	root       string
}

// folder looks at a cgroup and all below. above is who the cgroup above belongs to: what runtimes and programs make below their own is theirs.
func (w *walker) folder(at string, above process.Place, depth int) {
	if w.left--; w.left < 0 || depth > maxDepth {
		w.whole = false
		return
	}
	dir := filepath.Join(w.root, at)
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return // it went away meanwhile
	}
	place := process.ParseCgroup(at)
	pod, isPod := process.ParsePod(at)
	if isPod || !place.IsZero() && place != above {
		w.add(&found{path: at, place: place, pod: pod, inode: st.Ino}, dir)
	}
	if st.Nlink == 2 { // the kernel counts the cgroups below as links
		return
	}
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.whole = false
	}
	for _, e := range entries {
		if e.IsDir() {
			w.folder(path.Join(at, e.Name()), place, depth+1)
		}
	}
}

func (w *walker) add(f *found, dir string) {
	known := w.list[f.path]
	if known == nil {
		if len(w.list) >= maxGroups {
			w.whole = false
			return
		}
		w.list[f.path], known = f, f
	}
	known.dirs[w.controller] = dir
}
