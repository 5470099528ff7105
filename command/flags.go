package command

import (
	"context"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vetch-dev/vetch/config"
)

const configHelp = `

Every setting can be given as a flag, as a variable (--data-dir is VETCH_DATA_DIR) or in a YAML file (data_dir); a flag wins over
a variable, a variable over the file. "vetch check-config" prints the result.`

// settings adds a flag for each option whose key begins with one of prefixes, and --config. The function that it returns
// loads the configuration once the flags are parsed.
func settings(p program, cmd *cobra.Command, prefixes ...string) func() (*config.Loaded, error) {
	var given []config.Flag
	path := cmd.Flags().String("config", "", "YAML file with settings (VETCH_CONFIG)")
	for _, o := range config.Options() {
		if !hasPrefix(o.Key, prefixes) {
			continue
		}
		v := &settingFlag{option: o, given: &given}
		f := cmd.Flags().VarPF(v, o.Flag(), "", o.Help)
		if o.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	complete(cmd)
	return func() (*config.Loaded, error) {
		file := *path
		if file == "" {
			file = lookup(p.environ, config.EnvFile)
		}
		l, err := config.Load(config.Input{Path: file, Env: p.environ, Flags: given})
		if err != nil {
			return nil, wrongConfig(err)
		}
		return l, nil
	}
}

// complete offers the values of flags that have a few choices. cobra only refuses a flag that does not exist, which is
// right for a command without it.
func complete(cmd *cobra.Command) {
	for flag, choices := range map[string][]string{
		"agent-hook": {config.HookAuto, config.HookSocket, config.HookSyscall},
		"log-level":  {"debug", "info", "warn", "error"},
		"log-format": {"text", "json"},
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	_ = cmd.MarkFlagFilename("config", "yml", "yaml")
}

// settingFlag is one option as a flag. It reads each text at once, so that a wrong one is an error of the command line, and
// keeps it to be applied over file and variables.
type settingFlag struct {
	option config.Option
	given  *[]config.Flag
	texts  []string
}

// Set reads one occurrence of the flag. A list grows with each; another setting keeps the last.
func (f *settingFlag) Set(text string) error {
	scratch := config.Default()
	if err := f.option.Set(&scratch, text); err != nil {
		return err
	}
	f.texts = append(f.texts, text)
	if f.option.Type() == "list" {
		text = strings.Join(f.texts, ",")
	}
	*f.given = append(*f.given, config.Flag{Option: f.option, Text: text})
	return nil
}

// String is the default, for the help text.
func (f *settingFlag) String() string {
	if f.given == nil { // pflag asks a zero value too
		return ""
	}
	c := config.Default()
	return f.option.Get(&c)
}

// Type names the kind of value in the help text.
func (f *settingFlag) Type() string { return f.option.Type() }

func hasPrefix(key string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return len(prefixes) == 0
}

func lookup(environ []string, name string) string {
	for _, pair := range environ {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			return v
		}
	}
	return ""
}

// newLog writes to standard error as the configuration says, and warns of variables that mean nothing.
func newLog(p program, l *config.Loaded) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Log.Level)) // validated
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(p.stderr, options)
	if l.Log.Format == "json" {
		h = slog.NewJSONHandler(p.stderr, options)
	}
	log := slog.New(h)
	for _, unknown := range l.Unknown {
		log.Warn("ignoring an unknown variable", "variable", unknown)
	}
	return log
}

// library is the log for parts whose libraries tell each step of theirs as information: it drops that, unless everything was asked for.
func library(log *slog.Logger, l *config.Loaded) *slog.Logger {
	if l.Log.Level == "debug" {
		return log
	}
	return slog.New(warnings{log.Handler()})
}

// warnings hands on what is a warning or worse.
type warnings struct{ slog.Handler }

// Enabled keeps information out.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the threshold.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the threshold.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
