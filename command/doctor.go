package command

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/tracer"
	"github.com/vetch-dev/vetch/config"
)

const doctorHelp = `Tries what vetch needs of this kernel and this machine, and prints what is there, what is missing, and what is lost without it. Then it
lists the programs and libraries that do TLS in the processes of now, and why one cannot be seen through. It changes nothing and leaves
nothing behind. Run it as root: without the privileges the kernel does not tell.

Ends with 3 where "vetch run" cannot work here.`

// check is one line of the doctor's report.
type check struct {
	Group     string `json:"group"` // "privilege", "kernel" or "machine"
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Required  bool   `json:"required"`       // "vetch run" cannot work without it
	Why       string `json:"why,omitempty"`  // what the kernel said, where it is not available
	Cost      string `json:"cost,omitempty"` // what is lost without it
}

// report is what "vetch doctor -o json" prints.
type report struct {
	Version      string `json:"version"`
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	CPUs         int    `json:"cpus"`
	MemoryBytes  uint64 `json:"memory_bytes"`
	CanRun       bool   `json:"can_run"`
	// Source is the socket of the network tracer that is read in place of kernel programs, where agent.tracer.source is set.
	Source string  `json:"source,omitempty"`
	Checks []check `json:"checks"`
	// TLS are the programs and libraries that processes do TLS with now.
	TLS []tlsFile `json:"tls"`
}

func newDoctor(p program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Say what this kernel and machine offer, what is missing, and what that costs",
		Long:    doctorHelp,
		Example: "  sudo vetch doctor\n  sudo vetch doctor -o json | jq '.checks[] | select(.available | not)'",
		Args:    noArguments,
	}
	outputFlag(cmd, &output, "table", "table", "json")
	load := settings(p, cmd, "data_dir", "agent.tls.", "agent.tracer.", "agent.ignore_cgroups")
	cmd.RunE = func(*cobra.Command, []string) error {
		if output != "table" && output != "json" {
			return wrongOutput(output, "table", "json")
		}
		l, err := load()
		if err != nil {
			return err
		}
		r, err := examine(&l.Config)
		if err != nil {
			return err
		}
		if output == "json" {
			err = writeJSON(p.stdout, r)
		} else {
			err = newScreen(p.stdout, p.environ).write([]byte(reportText(r)))
		}
		if err == nil && !r.CanRun {
			err = missing(errors.New("\"vetch run\" cannot work here; the report says what is missing"))
		}
		return err
	}
	return cmd
}

func examine(c *config.Config) (report, error) {
	set, err := effective()
	if err != nil {
		return report{}, err
	}
	survey := probe.Survey()
	r := report{
		Version: Version(), Kernel: survey.Kernel, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU(), MemoryBytes: memory(),
		CanRun: true, Source: c.Agent.Tracer.Source,
	}
	loads := r.Source == ""
	for _, c := range capabilities() {
		r.add(check{"privilege", c.name, holds(set, c.bit), c.required && loads, "this process does not have it", c.cost})
	}
	for _, f := range survey.Features {
		r.add(check{"kernel", f.Name, f.Available, f.Required && loads, f.Why, f.Cost})
	}
	if !loads {
		r.add(tracerCheck(r.Source))
	}
	for _, m := range machineChecks(c.DataDir) {
		m.Required = m.Required && loads
		r.add(m)
	}
	r.TLS, err = tlsFiles(&c.Agent)
	return r, err
}

// tracerCheck asks the network tracer that would be read.
func tracerCheck(path string) check {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := check{Group: "machine", Name: "network tracer at " + path, Cost: "nothing is watched until it answers (agent.tracer.source)"}
	if _, err := tracer.Check(ctx, path); err != nil {
		c.Why = err.Error()
	} else {
		c.Available = true
	}
	return c
}

func (r *report) add(c check) {
	if c.Available {
		c.Why = ""
	} else if c.Required {
		r.CanRun = false
	}
	r.Checks = append(r.Checks, c)
}

func reportText(r report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vetch %s on Linux %s, %s, %d CPUs, %.1f GiB of memory\n", r.Version, r.Kernel, r.Architecture, r.CPUs, float64(r.MemoryBytes)/(1<<30))
	columns := []column{{"", false}, {"", false}, {"", false}}
	for _, group := range []string{"privilege", "kernel", "machine"} {
		var rows [][]string
		for _, c := range r.Checks {
			if c.Group != group {
				continue
			}
			state, note := "yes", ""
			if !c.Available {
				state, note = "no", c.Cost
				if c.Required {
					state = "NEEDED"
				}
				if c.Why != "" {
					note += " (" + printable(c.Why) + ")"
				}
			}
			rows = append(rows, []string{printable(c.Name), state, note})
		}
		columns[0].title, columns[1].title, columns[2].title = strings.ToUpper(group), "THERE", "WITHOUT IT"
		b.WriteString("\n" + tableText(columns, rows, nil))
	}
	b.WriteString(tlsText(r.TLS))
	if r.Source != "" {
		b.WriteString("\nNo kernel programs are loaded: connections and their bytes come from " + printable(r.Source) +
			" (agent.tracer.source).\nRequests, TLS, DNS, round trips, failed connects, crashes and kills are not seen.\n")
	}
	if r.CanRun {
		b.WriteString("\n\"vetch run\" can work here.\n")
	}
	return b.String()
}
