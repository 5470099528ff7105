package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCheckConfig(p program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration, and print what is in effect and where each setting comes from",
		Long: `Reads file, variables and flags as "vetch run" does. The output is itself a configuration file; the comment behind a setting
says where it comes from. Ends with 2 where something is wrong, after listing all that is.` + configHelp,
		Example: "  vetch check-config --config /etc/vetch/vetch.yml\n  VETCH_LISTEN=127.0.0.1:5000 vetch check-config",
		Args:    noArguments,
	}
	load := settings(p, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		for _, unknown := range l.Unknown {
			fmt.Fprintf(p.stderr, "vetch: warning: %s\n", unknown)
		}
		return l.WriteYAML(p.stdout)
	}
	return cmd
}
