package command

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (see Makefile). The zero value means that the module version is the one to show.
var version string

// Version is what "vetch version" prints: a release such as "v0.1.0", a commit, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func newVersion(p program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  vetch version\n  vetch version -o json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			switch output {
			case "json":
				return writeJSON(p.stdout, v)
			case "text":
				fmt.Fprintf(p.stdout, "vetch %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
				return nil
			}
			return wrongOutput(output, "text", "json")
		},
	}
	outputFlag(cmd, &output, "text", "text", "json")
	return cmd
}

type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// outputFlag adds -o with completion; wrongOutput is the error for anything else.
func outputFlag(cmd *cobra.Command, output *string, choices ...string) {
	cmd.Flags().StringVarP(output, "output", "o", choices[0], fmt.Sprintf("one of %q", choices[1:]))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(choices[1:], cobra.ShellCompDirectiveNoFileComp))
}

func wrongOutput(output string, choices ...string) error {
	return wrongUsage(fmt.Errorf("-o must be one of %q, not %q", choices, output))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
