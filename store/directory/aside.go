package directory

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Aside keeps what is corrupt under another name, NAME.corrupt-TIME, beside it. Nothing is ever deleted.
type Aside struct {
	Suffix string // ".corrupt-TIME", of this start
	Count  int    // what was set aside

	dir string
	log *slog.Logger
}

// NewAside is for one start of a store, at now.
func NewAside(dir string, now time.Time, log *slog.Logger) *Aside {
	return &Aside{Suffix: ".corrupt-" + now.UTC().Format("20060102T150405.000Z"), dir: dir, log: log}
}

// Rename gives a file or folder of the directory its other name, counts it, and says why in the log.
func (a *Aside) Rename(name string, why error) error { return a.Move(name, name, why) }

// Move is Rename for what lies in a folder where no other name may be; as is its new name, before the suffix.
func (a *Aside) Move(name, as string, why error) error {
	to := as + a.Suffix
	if err := os.Rename(filepath.Join(a.dir, name), filepath.Join(a.dir, to)); err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	a.Count++
	a.log.Error("corrupt file set aside", "name", name, "kept_as", to, "err", why)
	return nil
}

// IsMachine tells a trouble of the machine, which will go away and must not cost data, from a corrupt file.
func IsMachine(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
