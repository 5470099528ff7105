package host

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const maxFilesystems = 64

// filesystem is one that is kept on a disk of the machine.
type filesystem struct {
	device, kind, dir  string
	size, free, avail  uint64 // bytes; avail is free without what only root may have
	inodes, freeInodes uint64 // 0 inodes where it makes them as it needs them
	readOnly           bool
}

// kept are the kinds that lie on disks of this machine. Asking others may hang, while their servers are away, or tells of memory.
var kept = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "zfs": true, "f2fs": true, "bcachefs": true, "jfs": true,
	"vfat": true, "exfat": true, "ntfs3": true,
}

// parseFilesystems reads /proc/PID/mountinfo (proc(5)): each file system once, where it is mounted as a whole first. A machine that is a container
// itself has its root on an overlay of a disk.
func parseFilesystems(text string) (list []filesystem) {
	seen := make(map[string]bool)
	for line := range strings.Lines(text) {
		head, tail, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		before, after := strings.Fields(head), strings.Fields(tail)
		if !ok || len(before) < 6 || len(after) < 3 || len(list) >= maxFilesystems {
			continue
		}
		numbers, within, dir, kind := before[2], before[3], unescapeMount(before[4]), after[0]
		root := kind == "overlay" && dir == "/"
		if !root && (!kept[kind] || within != "/" && kind != "btrfs") || seen[numbers] { // subvolumes of btrfs are mounted by their paths
			continue
		}
		seen[numbers] = true
		list = append(list, filesystem{device: unescapeMount(after[1]), kind: kind, dir: dir, readOnly: hasOption(before[5], "ro")})
	}
	return list
}

func hasOption(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == option {
			return true
		}
	}
	return false
}

// readFilesystems asks how full the machine's file systems are.
func (m *Meter) readFilesystems() {
	m.node.filesystems = m.node.filesystems[:0]
	for _, f := range parseFilesystems(m.text(filepath.Join(m.proc, m.first()), "mountinfo")) {
		var st unix.Statfs_t
		if unix.Statfs(filepath.Join(m.options.Root, f.dir), &st) != nil || st.Blocks == 0 {
			continue
		}
		block := uint64(st.Bsize)
		f.size, f.free, f.avail = st.Blocks*block, st.Bfree*block, st.Bavail*block
		f.inodes, f.freeInodes = st.Files, st.Ffree
		m.node.filesystems = append(m.node.filesystems, f)
	}
}
