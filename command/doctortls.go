package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vetch-dev/vetch/agent/java"
	"github.com/vetch-dev/vetch/agent/process"
	"github.com/vetch-dev/vetch/agent/tls"
	"github.com/vetch-dev/vetch/config"
)

// tlsFile is a program or library with TLS in it that a process uses now.
type tlsFile struct {
	Path      string   `json:"path"` // as its processes see it
	Libraries []string `json:"libraries"`
	Processes int      `json:"processes"`
	Probed    bool     `json:"probed"`        // "vetch run" sees what they say in it
	Why       string   `json:"why,omitempty"` // why not all of it, or nothing
}

// tlsFiles looks at what all processes use. Without the privileges for that, it is what the own user's processes use.
func tlsFiles(c *config.Agent) ([]tlsFile, error) {
	var jvms []uint32
	w, err := tls.New(tls.Options{IgnoreCgroups: c.IgnoreCgroups, JVM: func(pid uint32) {
		if !slices.Contains(jvms, pid) {
			jvms = append(jvms, pid)
		}
	}})
	if err != nil {
		return nil, fmt.Errorf("look for TLS: %w", err)
	}
	var out []tlsFile
	for _, f := range w.Files() {
		one := tlsFile{Path: f.Path, Processes: f.Processes, Probed: c.TLS.Enabled && len(f.Found) > 0}
		for _, found := range f.Found {
			one.Libraries = append(one.Libraries, strings.TrimSpace(string(found.Library)+" "+found.Version))
		}
		if f.Err != nil {
			one.Why = strings.ReplaceAll(f.Err.Error(), "\n", "; ")
		} else if !c.TLS.Enabled {
			one.Why = "agent.tls.enabled is false"
		}
		out = append(out, one)
	}
	return append(out, javaPrograms(c.TLS.Java, jvms)...), errors.Join(w.Close())
}

// javaPrograms are the JVMs: their own TLS is in no file.
func javaPrograms(chosen []string, pids []uint32) []tlsFile {
	names := process.NewNamer("", nil)
	var out []tlsFile
	for _, j := range java.List(java.Options{Chosen: chosen, Workload: func(pid uint32) string { return names.Name(pid).Name }}, pids) {
		one := tlsFile{Path: strings.TrimSpace(j.Executable + " " + j.Program), Libraries: []string{"java"}, Processes: j.Processes, Probed: j.Err == nil}
		if j.Err != nil {
			one.Why = strings.ReplaceAll(j.Err.Error(), "\n", "; ")
		}
		out = append(out, one)
	}
	return out
}

func tlsText(files []tlsFile) string {
	if len(files) == 0 {
		return "\nNo process uses a TLS library that can be recognised.\n"
	}
	var rows [][]string
	for _, f := range files {
		state := "yes"
		if !f.Probed {
			state = "no"
		}
		rows = append(rows, []string{printable(f.Path), printable(strings.Join(f.Libraries, ", ")), fmt.Sprint(f.Processes), state, printable(f.Why)})
	}
	return "\n" + tableText([]column{{"TLS", false}, {"LIBRARY", false}, {"PROCESSES", true}, {"SEEN", false}, {"WHY NOT", false}}, rows, nil)
}
