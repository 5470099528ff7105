package tls

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where Linux distributions keep the TLS libraries that many programs share.
var (
	installedFolders = []string{"lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib", "usr/local/lib64", "lib/*-linux-*", "usr/lib/*-linux-*"}
	installedNames   = []string{"libssl.so.[0-9]*", "libgnutls.so.[0-9]*"}
)

const maxInstalled = 32 // files

// machineRoot is the root folder of the machine as a path of ours: that of its first process, or our own where we may not look at it (a process of another
// user namespace, no CAP_SYS_PTRACE).
func machineRoot(proc string) string {
	root := procPath(proc, 1, "root")
	if _, err := os.Stat(root); errors.Is(err, fs.ErrPermission) {
		return "/"
	}
	return root
}

// keepInstalled probes the TLS libraries that are installed on the machine, whether a process uses them just now or not: curl may be done before a library that it is the first to use is probed.
// Where nobody runs them that costs nothing, and they are on file systems that stay. One that was replaced is kept no longer.
func (w *Watcher) keepInstalled() {
	if w.options.Attach == nil {
		return
	}
	var paths []string
	for _, folder := range installedFolders {
		for _, name := range installedNames {
			found, _ := filepath.Glob(filepath.Join(w.root, folder, name))
			paths = append(paths, found...)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		f.installed = false
	}
	for _, path := range paths[:min(len(paths), maxInstalled)] {
		name := filepath.Join("/", strings.TrimPrefix(path, w.root))
		fd, err := openInRoot(w.root, name)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), name)
		if file := w.lookAt(f, name); file != nil {
			file.installed = true
		}
		f.Close()
	}
}
