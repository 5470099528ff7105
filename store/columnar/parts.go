package columnar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vetch-dev/vetch/store/directory"
)

// Of the engine's layout of a day: records and the index of their streams, each in parts (folders with files that never change) and a list of those.
const (
	recordsDir   = "datadb"
	indexDir     = "indexdb"
	partsList    = "parts.json"    // names of parts, as a JSON array of texts
	partMetadata = "metadata.json" // in each part
)

// listParts lists the parts that the engine takes as its own, as names below the folder of the day. A list that is not there has none: the engine then
// makes one, or refuses the day where parts are. Errors: errCorrupt, or what the file system said.
func listParts(root string) ([]string, error) {
	var parts []string
	for _, kind := range []string{recordsDir, indexDir} {
		text, err := os.ReadFile(filepath.Join(root, kind, partsList))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list parts: %w", unreadable(err))
		}
		var names []string
		if err := json.Unmarshal(text, &names); err != nil {
			return nil, fmt.Errorf("list parts: %w: %s: %w", errCorrupt, filepath.Join(kind, partsList), err)
		}
		for _, name := range names {
			if filepath.Base(name) != name {
				return nil, fmt.Errorf("list parts: %w: %s has %q", errCorrupt, filepath.Join(kind, partsList), name)
			}
			parts = append(parts, filepath.Join(kind, name))
		}
	}
	return parts, nil
}

// checkList is an error where a part that is listed is not there. The engine would first delete the parts that are not listed, and with a damaged list
// that may be one which should be.
func checkList(root string) error {
	parts, err := listParts(root)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := os.Stat(filepath.Join(root, part)); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: the part %s is listed and missing", errCorrupt, part)
		} else if err != nil {
			return fmt.Errorf("look at a part: %w", err)
		}
	}
	return nil
}

// removePart sets aside a part of records, and takes it off the list. The engine must not have the day open. Cut short between the two steps, the
// next start finds it missing, and sets aside the day: nothing is deleted either way.
func removePart(dir, day, part string, aside *directory.Aside, why error) error {
	root := filepath.Join(engineDir, partitionsDir, day)
	list := filepath.Join(dir, root, filepath.Dir(part), partsList)
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("list parts: %w", err)
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return fmt.Errorf("list parts: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == filepath.Base(part) })
	if text, err = json.Marshal(names); err != nil {
		return fmt.Errorf("list parts: %w", err)
	}
	// All that takes room on the disk comes first: what is left then are two new names.
	shorter, err := newFile(list, text)
	if err != nil {
		return fmt.Errorf("take a part off the list: %w", err)
	}
	if err := aside.Move(filepath.Join(root, part), "part."+day+"."+filepath.Base(part), why); err != nil {
		return errors.Join(err, os.Remove(shorter))
	}
	if err := putFile(shorter, list); err != nil {
		return fmt.Errorf("take a part off the list: %w", err)
	}
	return nil
}

// setDamagedAside sets aside the parts of a day that do not agree with their checksums. A day whose list of parts, or whose index, is damaged is an
// error: its records may be whole, but none could be found by what it belongs to. No more is read than look allows.
func setDamagedAside(ctx context.Context, dir, day string, aside *directory.Aside, look *budget) error {
	root := filepath.Join(dir, engineDir, partitionsDir, day)
	if err := checkList(root); err != nil {
		return err
	}
	s, err := readSums(sumsPath(dir, day))
	if errors.Is(err, errCorrupt) {
		return aside.Move(filepath.Join(sumsDir, day), "sums."+day, err)
	}
	if err != nil {
		return err
	}
	parts, _, err := s.damaged(ctx, root, look)
	if err != nil {
		return err
	}
	for part, why := range parts {
		if filepath.Dir(part) == indexDir {
			return why
		}
	}
	for part, why := range parts {
		if err := removePart(dir, day, part, aside, why); err != nil {
			return err
		}
	}
	return nil
}
