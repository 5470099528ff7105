package main

import (
	"bufio"
	"fmt"
	"os"
)

// entry is a file of an initramfs.
type entry struct {
	name         string
	mode         uint32 // type and permissions as in stat
	major, minor uint32 // of a device
	data         []byte
}

// writeArchive writes a cpio archive of the kind "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of Linux):
// the binary as /init, the console it prints to, and the pattern of the tests to run.
func writeArchive(path, binary, run string) error {
	init, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read the test binary: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create the initramfs: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	for i, e := range []entry{
		{name: "dev", mode: 0o040755},
		{name: "dev/console", mode: 0o020600, major: 5, minor: 1},
		{name: "dev/null", mode: 0o020666, major: 1, minor: 3},
		{name: "run-pattern", mode: 0o100644, data: []byte(run)},
		{name: "init", mode: 0o100755, data: init},
		{name: "TRAILER!!!"},
	} {
		writeEntry(out, i+1, e)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the initramfs: %w", err)
	}
	return file.Close()
}

// writeEntry writes the 110 bytes of header, the name and the data, each padded to four. Errors stay in the writer.
func writeEntry(out *bufio.Writer, inode int, e entry) {
	fmt.Fprintf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, e.major, e.minor, len(e.name)+1, 0)
	out.WriteString(e.name)
	out.WriteString("\x00\x00\x00\x00"[:1+(4-(110+len(e.name)+1)%4)%4])
	out.Write(e.data)
	out.WriteString("\x00\x00\x00"[:(4-len(e.data)%4)%4])
}
