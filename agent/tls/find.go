package tls

import (
	"errors"
	"io"
)

// Find looks into an executable or shared library for everything that can be probed. The error is ErrNoTLS where there is nothing of the
// kind; otherwise it says why one of what is there cannot be probed, beside those that can.
func Find(r io.ReaderAt) ([]Found, error) {
	m, err := openImage(r)
	if err != nil {
		return nil, err
	}
	var all []Found
	var errs []error
	for _, find := range []func(*image) (Found, error){findGo, findLibrary, findRustls} {
		found, err := find(m)
		switch {
		case err == nil:
			all = append(all, found)
		case !errors.Is(err, ErrNoTLS):
			errs = append(errs, err)
		}
	}
	if len(all) == 0 && len(errs) == 0 {
		return nil, ErrNoTLS
	}
	return all, errors.Join(errs...)
}
