package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vetch-dev/vetch/kube"
)

const topHelp = `Shows what containers, pods, workloads or nodes use: processor, memory (working set), network and disk, against their requests and limits. In a
cluster it asks the kubelets through the Kubernetes API, with nothing installed there; that needs to list nodes and pods and to get nodes/proxy. With
--server it adds the requests and errors that vetch has counted. Without a kubeconfig it shows what the server at --server knows: by default the
containers, units and programs of this machine.

Keys: 1 pods, 2 containers, 3 workloads, 4 nodes, s and S another column to sort by, r reverse, / filter, arrows scroll, q quit.
"-" is a figure that is not known, or a limit that does not exist.`

const topExample = `  vetch top                                     pods of the current context
  vetch top nodes --context prod
  vetch top workloads -n shop --server http://vetch.example.org:4780
  vetch top containers --once --sort memory --filter cart
  vetch top --once -o json | jq '.rows[] | select(.cpu_cores > 1)'`

// topOptions are the flags of "vetch top".
type topOptions struct {
	server     string
	caFile     string
	kubeconfig string
	context    string
	source     string
	namespace  string
	filter     string
	sort       string
	output     string
	reverse    bool
	once       bool
	interval   time.Duration
	view       string
}

// The choices of --source.
const (
	sourceAuto       = "auto"
	sourceKubernetes = "kubernetes"
	sourceServer     = "server"
)

func newTop(p program) *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:       "top [pods|containers|workloads|nodes]",
		Short:     "Show what pods, containers, workloads and nodes use",
		Long:      topHelp,
		Example:   topExample,
		ValidArgs: topViews,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !slices.Contains(topViews, args[0]) {
				return wrongUsage(fmt.Errorf("what is shown must be one of %s, not %q", strings.Join(topViews, ", "), args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.view = args[0]
			}
			return runTop(cmd.Context(), p, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.server, "server", "", "URL or host:port of a vetch server (default without a cluster: the listen address of VETCH_LISTEN or http://127.0.0.1:4780)")
	f.StringVar(&o.caFile, "ca-file", "", "PEM file of the authority that signed the server's certificate")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the Kubernetes API (default: KUBECONFIG, ~/.kube/config, or as a pod)")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig (default: the current one)")
	f.StringVar(&o.source, "source", sourceAuto, "where figures come from: kubernetes, server, or auto: kubernetes where there is a kubeconfig")
	f.StringVarP(&o.namespace, "namespace", "n", "", "only this namespace")
	f.StringVar(&o.filter, "filter", "", "only rows in whose name, pod, workload or node all of these words stand")
	f.StringVar(&o.sort, "sort", "cpu", "column to sort by: "+strings.Join(sortNames(), ", "))
	f.BoolVar(&o.reverse, "reverse", false, "smallest first")
	f.BoolVar(&o.once, "once", false, "print once, and end")
	f.DurationVar(&o.interval, "interval", 5*time.Second, "time between two readings, at least 1s")
	outputFlag(cmd, &o.output, "table", "table", "json")
	_ = cmd.MarkFlagFilename("ca-file", "pem", "crt")
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(sortNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions([]string{sourceAuto, sourceKubernetes, sourceServer}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *topOptions) validate() error {
	switch {
	case o.output != "table" && o.output != "json":
		return wrongOutput(o.output, "table", "json")
	case !slices.Contains(sortNames(), o.sort):
		return wrongUsage(fmt.Errorf("--sort must be one of %s, not %q", strings.Join(sortNames(), ", "), o.sort))
	case !slices.Contains([]string{sourceAuto, sourceKubernetes, sourceServer}, o.source):
		return wrongUsage(fmt.Errorf("--source must be kubernetes, server or auto, not %q", o.source))
	case o.interval < time.Second:
		return wrongUsage(fmt.Errorf("--interval must be at least 1s, not %s", o.interval))
	}
	return nil
}

func runTop(ctx context.Context, p program, o topOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	source, err := newTopSource(p, &o)
	if err != nil {
		return err
	}
	out := newScreen(p.stdout, p.environ)
	state := topState{view: o.view, sort: o.sort, reverse: o.reverse, namespace: o.namespace, filter: o.filter, colour: out.colour}
	if !o.once {
		return watchTop(ctx, source, o, out, state)
	}
	shown, err := source.read(ctx, state.view, true)
	if err != nil {
		return err
	}
	return printTop(out, o, state, shown)
}

// printTop prints one reading.
func printTop(out *screen, o topOptions, s topState, shown topShown) error {
	if o.output != "json" {
		text := topTable(s, shown, false)
		for _, n := range shown.document.Nodes {
			if !n.Answers && s.view != viewNodes {
				text += fmt.Sprintf("%s does not answer: %s\n", printable(n.Name), printable(n.Error))
			}
		}
		return out.write([]byte(text))
	}
	d := shown.document
	d.Rows = slices.Clone(filterRows(d.Rows, s.namespace, s.filter))
	sortRows(d.Rows, s.sort, s.reverse)
	if d.Rows == nil {
		d.Rows = []topRow{}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return out.write(append(raw, '\n'))
}

// topSource reads one view after another. It is for one goroutine.
type topSource struct {
	cluster *kube.UsageReader // nil: the server alone is asked
	server  *client           // nil: there is none
	last    *kube.ClusterUsage
	rates   rates
	history history
}

// newTopSource chooses between a cluster and a server, and the view where none is asked for.
func newTopSource(p program, o *topOptions) (*topSource, error) {
	s := &topSource{history: history{}, rates: rates{}}
	if o.source != sourceServer {
		reader, err := kube.NewUsageReader(kube.UsageOptions{Kubeconfig: o.kubeconfig, Context: o.context, Namespace: o.namespace, UserAgent: "vetch-top/" + Version()})
		switch {
		case err == nil:
			s.cluster = reader
		case !errors.Is(err, kube.ErrNoCluster) || o.source == sourceKubernetes || o.context != "" || o.kubeconfig != "":
			return nil, wrongConfig(err)
		}
	}
	if o.view == "" {
		o.view = viewPods
		if s.cluster == nil {
			o.view = viewWorkloads
		}
	}
	if s.cluster != nil && o.server == "" {
		return s, nil
	}
	base, err := serverURL(o.server, p.environ)
	if err != nil {
		return nil, wrongUsage(err)
	}
	s.server, err = newClient(base, o.caFile)
	return s, err
}

// read takes one reading, or with fresh false another view of the last. A server that only adds requests may fail: the rest is shown with a note.
func (s *topSource) read(ctx context.Context, view string, fresh bool) (topShown, error) {
	shown := topShown{document: topDocument{Time: time.Now(), Source: sourceServer, View: view, Nodes: []topNode{}}, requests: s.server != nil}
	d := &shown.document
	if s.cluster == nil {
		var err error
		if d.Rows, err = serverRows(ctx, s.server, view); err != nil {
			return shown, err
		}
	} else {
		if fresh || s.last == nil {
			usage, err := s.cluster.Read(ctx)
			if err != nil {
				return shown, err
			}
			s.last = usage
			s.rates.advance(usage)
		}
		usage := s.last
		d.Time, d.Source = usage.At, sourceKubernetes
		for _, n := range usage.Nodes {
			d.Nodes = append(d.Nodes, topNode{Name: n.Name, Ready: n.Ready, Answers: n.Error == "", Error: n.Error})
		}
		d.Rows = clusterRows(usage, s.rates, view)
	}
	if s.server != nil {
		if err := addRequests(ctx, s.server, d.Rows, view); err != nil {
			if s.cluster == nil {
				return shown, err
			}
			shown.note = "No requests: " + err.Error()
		}
	}
	s.history.add(d.Rows)
	return shown, nil
}

// stdin is what keys are read from: the program's own input if that is a terminal.
func stdin() *os.File { return os.Stdin }
