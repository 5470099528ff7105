package binary

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"
)

// forms are what the tests plant in every password, key, value and literal: in lower case, and in base64 at each place that it can have in a group of three bytes.
var forms = func() (all [][]byte) {
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte("..."[:before] + secret))
		all = append(all, []byte(text[(before*8+5)/6:(before+len(secret))*8/6]))
	}
	return append(all, []byte(secret))
}()

func holdsSecret(where string, text []byte) error {
	for _, form := range forms {
		for _, in := range [][]byte{text, bytes.ToLower(text)} {
			if at := bytes.Index(in, form); at >= 0 {
				return fmt.Errorf("%s holds a planted secret: %q", where, in[max(0, at-100):min(len(in), at+100)])
			}
		}
	}
	return nil
}

func requireNoSecret(t *testing.T, v *vetch) {
	t.Helper()
	require.NoError(t, v.searchServed(), "%s hook", v.hook)
}

// searchServed looks for the secret in everything that vetch answers, and in what it prints.
func (v *vetch) searchServed() error {
	problems := []error{holdsSecret("what it prints", []byte(v.log.String()))}
	paths, err := v.paths()
	problems = append(problems, err)
	for _, path := range paths {
		text, err := v.get(path)
		problems = append(problems, err, holdsSecret(path, text))
	}
	return errors.Join(problems...)
}

// paths are all that its role answers.
func (v *vetch) paths() ([]string, error) {
	paths := []string{"/metrics"}
	if v.role != "run" {
		return paths, nil
	}
	all := url.Values{"match[]": {`{__name__!=""}`}, "start": {"0"}}.Encode()
	paths = append(paths, "/api/v1/series?"+all, "/api/v1/metadata", "/api/v1/labels", "/api/v1/status/tsdb", "/api/v1/query_exemplars?query=%7B__name__!%3D%22%22%7D&start=0",
		"/api/map?range=24h", "/api/workloads?range=24h", "/api/status")
	text, err := v.get("/api/workloads?range=24h")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Workloads []struct{ ID string }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	for _, w := range answer.Workloads {
		paths = append(paths, "/api/workload?"+url.Values{"id": {w.ID}, "range": {"24h"}}.Encode())
	}
	return paths, nil
}

// get is the body of an answer; an answer of another status than 200 is an error.
func (v *vetch) get(path string) ([]byte, error) {
	response, err := http.Get(v.url + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %.200s", path, response.Status, text)
	}
	return text, err
}

// searchStored looks for the secret in every file below the data directory, of the write-ahead log in what is unpacked.
func (v *vetch) searchStored() error {
	root := filepath.Join(v.dataDir, "d")
	var problems []error
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		problems = append(problems, err, holdsSecret(path, text))
		return nil
	})
	problems = append(problems, err)
	segments, err := wlog.NewSegmentsReader(filepath.Join(root, "metrics", "wal"))
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	defer segments.Close()
	records := 0
	r := wlog.NewReader(segments)
	for ; r.Next(); records++ {
		problems = append(problems, holdsSecret("the write-ahead log", r.Record()))
	}
	if records == 0 {
		problems = append(problems, errors.New("the write-ahead log is empty"))
	}
	return errors.Join(append(problems, r.Err())...)
}
