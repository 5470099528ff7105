package columnar

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vetch-dev/vetch/store/directory"
)

// The engine has no checksums, and ends the process in one of its own goroutines, where nobody can catch it, over a file that does not hold what it
// should. But it never changes the files of a part once the part is listed. So we keep checksums of them, and look before it does.

const (
	sumsDir     = "sums" // a file for each day, of its name
	sumsHeading = "vetch sums 1\n"
	maxSums     = 64 << 20 // bytes of one that is read; a file of a part takes about 70
)

// fileSum is what a file of a part held when it was new.
type fileSum struct {
	size int64
	crc  uint32 // CRC-32C
}

// sums are those of one day, by the file's name below the day's folder.
type sums map[string]fileSum

// sumsPath is where those of a day are kept.
func sumsPath(dir, day string) string { return filepath.Join(dir, sumsDir, day) }

// readSums returns none if there are none yet. Errors: errCorrupt, or what the file system said.
func readSums(path string) (sums, error) {
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return sums{}, nil
	} else if err == nil && info.Size() > maxSums {
		return nil, fmt.Errorf("read checksums: %w: %d bytes are too many", errCorrupt, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read checksums: %w", unreadable(err))
	}
	return parseSums(string(text))
}

// parseSums reads the heading, a line for each file (checksum, size, name), and the checksum of all before.
func parseSums(text string) (sums, error) {
	const endLength = len("00000000\n")
	var crc uint32
	if len(text) < endLength {
		return nil, fmt.Errorf("%w: checksums break off", errCorrupt)
	}
	body, end := text[:len(text)-endLength], text[len(text)-endLength:]
	if _, err := fmt.Sscanf(end, "%08x\n", &crc); err != nil || crc != crc32.Checksum([]byte(body), castagnoli) || !strings.HasPrefix(body, sumsHeading) {
		return nil, fmt.Errorf("%w: checksums do not fit their own", errCorrupt)
	}
	found := sums{}
	for line := range strings.Lines(body[len(sumsHeading):]) {
		var one fileSum
		var name string
		if _, err := fmt.Sscanf(line, "%08x %d %q\n", &one.crc, &one.size, &name); err != nil {
			return nil, fmt.Errorf("%w: a line of checksums: %w", errCorrupt, err)
		}
		found[name] = one
	}
	return found, nil
}

// text is what parseSums reads.
func (s sums) text() []byte {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	text := []byte(sumsHeading)
	for _, name := range names {
		text = fmt.Appendf(text, "%08x %d %q\n", s[name].crc, s[name].size, name)
	}
	return fmt.Appendf(text, "%08x\n", crc32.Checksum(text, castagnoli))
}

// write replaces the file at once: after a crash it is there as it was, or as it is to be.
func (s sums) write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("make the folder of checksums: %w", err)
	}
	if err := replaceFile(path, s.text()); err != nil {
		return fmt.Errorf("write checksums: %w", err)
	}
	return nil
}

// replaceFile gives a file other content in one step.
func replaceFile(path string, content []byte) error {
	name, err := newFile(path, content)
	if err != nil {
		return err
	}
	return putFile(name, path)
}

// newFile writes a file beside that of the path, whose place putFile gives it.
func newFile(path string, content []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func putFile(name, path string) error {
	if err := os.Rename(name, path); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return syncDir(filepath.Dir(path))
}

// unreadable makes corrupt what a sector that cannot be read says: a file that has one stays so, and must not end each start. Where the whole disk
// is gone, setting it aside fails, and ends the start all the same.
func unreadable(err error) error {
	if errors.Is(err, unix.EIO) {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// defaultFirstLook is what is read in 16 s at 125 MB/s: the port is taken after it.
const defaultFirstLook = 2 << 30

// budget bounds what is read of files. Of what is above it the size is looked at alone.
type budget struct {
	left  int64
	short bool // something was not read
}

// takes tells whether the file may be read. The library itself reads some of each part when it opens it, and ends the process over them: those always.
func (b *budget) takes(name string, size int64) bool {
	switch filepath.Base(name) {
	case partMetadata, "metaindex.bin", "column_names.bin", "column_idxs.bin":
		return true
	}
	if b == nil {
		return true
	}
	if size > b.left {
		b.short = true
		return false
	}
	b.left -= size
	return true
}

// sumOf reads a file. The context ends it between two blocks.
func sumOf(ctx context.Context, path string) (fileSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close()
	var sum fileSum
	block := make([]byte, 256<<10)
	for {
		n, err := f.Read(block)
		sum.size += int64(n)
		sum.crc = crc32.Update(sum.crc, castagnoli, block[:n])
		switch {
		case errors.Is(err, io.EOF):
			return sum, nil
		case err != nil:
			return fileSum{}, err
		case ctx.Err() != nil:
			return fileSum{}, ctx.Err()
		}
	}
}

// seal adds the sums of parts that have none, and leaves out those of parts that are gone. root is the folder of the day. It says whether anything changed.
func (s sums) seal(ctx context.Context, root string) (changed bool, err error) {
	parts, err := listParts(root)
	if err != nil {
		return false, err
	}
	for name := range s {
		if !slices.Contains(parts, filepath.Dir(name)) {
			delete(s, name)
			changed = true
		}
	}
	for _, part := range parts {
		if s.has(part) {
			continue
		}
		found, err := sumsOfPart(ctx, root, part)
		if errors.Is(err, os.ErrNotExist) { // merged into another meanwhile
			continue
		}
		if err != nil {
			return changed, fmt.Errorf("make checksums of %s: %w", part, err)
		}
		for name, one := range found {
			s[name] = one
		}
		changed = true
	}
	return changed, nil
}

// has tells whether there are sums of the part. Each has this file.
func (s sums) has(part string) bool {
	_, ok := s[filepath.Join(part, partMetadata)]
	return ok
}

func sumsOfPart(ctx context.Context, root, part string) (sums, error) {
	entries, err := os.ReadDir(filepath.Join(root, part))
	if err != nil {
		return nil, err
	}
	found := sums{}
	for _, e := range entries {
		name := filepath.Join(part, e.Name())
		if found[name], err = sumOf(ctx, filepath.Join(root, name)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// damaged compares what has sums with its files, and returns for each part that differs in what. read is how many bytes agreed. A nil look has no bounds.
func (s sums) damaged(ctx context.Context, root string, look *budget) (parts map[string]error, read int64, err error) {
	listed, err := listParts(root)
	if err != nil {
		return nil, 0, err
	}
	parts = map[string]error{}
	for name, want := range s {
		part := filepath.Dir(name)
		if !slices.Contains(listed, part) || parts[part] != nil {
			continue
		}
		got, err := sizeOf(filepath.Join(root, name), want)
		if err == nil && got == want && look.takes(name, want.size) {
			got, err = sumOf(ctx, filepath.Join(root, name))
			if err == nil && got == want {
				read += got.size
			}
		}
		switch {
		case err == nil && got.size != want.size:
			parts[part] = fmt.Errorf("%w: %s has %d bytes, not %d", errCorrupt, name, got.size, want.size)
		case err == nil && got == want:
		case err == nil:
			parts[part] = fmt.Errorf("%w: %s has %d bytes with the checksum %08x, not %d with %08x", errCorrupt, name, got.size, got.crc, want.size, want.crc)
		case errors.Is(err, os.ErrNotExist):
			parts[part] = fmt.Errorf("%w: %s is missing", errCorrupt, name)
		case ctx.Err() != nil || directory.IsMachine(err) && !errors.Is(err, unix.EIO):
			return nil, read, fmt.Errorf("compare checksums: %w", err)
		default:
			parts[part] = fmt.Errorf("%w: %w", errCorrupt, err)
		}
	}
	if err := leaveMerged(root, parts); err != nil {
		return nil, read, err
	}
	return parts, read, nil
}

// sizeOf is want with the size that the file has.
func sizeOf(path string, want fileSum) (fileSum, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileSum{}, err
	}
	return fileSum{info.Size(), want.crc}, nil
}

// leaveMerged takes out the parts that the engine has merged into others and deleted while they were read.
func leaveMerged(root string, parts map[string]error) error {
	if len(parts) == 0 {
		return nil
	}
	listed, err := listParts(root)
	if err != nil {
		return err
	}
	for part := range parts {
		if !slices.Contains(listed, part) {
			delete(parts, part)
		}
	}
	return nil
}
