package command

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vetch-dev/vetch/config"
)

// What runs already was started by libraries as they were loaded.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

// result is what one command line gives.
type result struct {
	code           int
	stdout, stderr string
}

func vetch(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := execute(t.Context(), program{environ, &stdout, &stderr}, args)
	return result{code, stdout.String(), stderr.String()}
}

func TestExitCodes(t *testing.T) {
	web := filepath.Join(t.TempDir(), "vetch.yml")
	require.NoError(t, os.WriteFile(web, []byte("listne: x\n"), 0o600))
	for name, tc := range map[string]struct {
		args   []string
		env    []string
		code   int
		stderr string
	}{
		"help":                 {args: []string{"--help"}},
		"nothing prints help":  {},
		"version":              {args: []string{"version"}},
		"unknown command":      {args: []string{"mpa"}, code: 2, stderr: `there is no command "mpa"; did you mean "map"?`},
		"unknown flag":         {args: []string{"map", "--wach"}, code: 2, stderr: "unknown flag: --wach\nRun 'vetch map --help'"},
		"unwanted argument":    {args: []string{"version", "x"}, code: 2, stderr: `takes no arguments, but got "x"`},
		"wrong output":         {args: []string{"version", "-o", "yaml"}, code: 2, stderr: `-o must be one of ["text" "json"], not "yaml"`},
		"wrong flag value":     {args: []string{"check-config", "--metrics-interval", "soon"}, code: 2, stderr: `"soon" is not a duration`},
		"wrong file":           {args: []string{"check-config", "--config", web}, code: 2, stderr: `vetch.yml: line 1: unknown key "listne"; did you mean "listen"?`},
		"file by variable":     {args: []string{"check-config"}, env: []string{"VETCH_CONFIG=" + web}, code: 2, stderr: "unknown key"},
		"missing file":         {args: []string{"check-config", "--config", "/does/not/exist"}, code: 2, stderr: "no such file"},
		"wrong variable":       {args: []string{"check-config"}, env: []string{"VETCH_LOG_LEVEL=loud"}, code: 2, stderr: `log.level: must be one of ["debug" "info" "warn" "error"], not "loud" (set by VETCH_LOG_LEVEL)`},
		"open to others":       {args: []string{"check-config", "--listen", "0.0.0.0:4780"}, code: 2, stderr: "can be reached from other machines"},
		"tree of json":         {args: []string{"map", "--tree", "-o", "json"}, code: 2, stderr: "--tree is not for -o json"},
		"short range":          {args: []string{"map", "--range", "1s"}, code: 2, stderr: "at least 10s"},
		"wrong server":         {args: []string{"map", "--server", "ftp://x"}, code: 2, stderr: "must be a URL or host:port"},
		"no server there":      {args: []string{"map", "--server", "127.0.0.1:1"}, code: 1, stderr: `is "vetch run" running there?`},
		"several lines":        {args: []string{"check-config"}, env: []string{"VETCH_INSECURE=x", "VETCH_LISTEN=\x00"}, code: 2, stderr: "\nvetch: VETCH_LISTEN: "},
		"missing ca file":      {args: []string{"map", "--ca-file", "/does/not/exist"}, code: 2, stderr: "read --ca-file"},
		"completion":           {args: []string{"completion", "bash"}},
		"unknown help subject": {args: []string{"help", "map"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := vetch(t, tc.env, tc.args...)
			require.Equal(t, tc.code, got.code, got.stderr)
			if tc.stderr == "" {
				require.Empty(t, got.stderr)
				require.NotEmpty(t, got.stdout)
			} else {
				require.Contains(t, got.stderr, tc.stderr)
				require.True(t, strings.HasPrefix(got.stderr, "vetch: "), got.stderr)
			}
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range newRoot(program{}).Commands() {
		require.NotEmpty(t, c.Short, c.Name())
		require.NotEmpty(t, c.Example, c.Name())
		c.Flags().VisitAll(func(f *pflag.Flag) { require.NotEmpty(t, f.Usage, "%s --%s", c.Name(), f.Name) })
	}
}

func TestEverySettingIsAFlag(t *testing.T) {
	cmd := &cobra.Command{Use: "x"}
	settings(program{}, cmd)
	for _, o := range config.Options() {
		f := cmd.Flags().Lookup(o.Flag())
		require.NotNil(t, f, o.Key)
		c := config.Default()
		require.Equal(t, o.Get(&c), f.DefValue, o.Key)
	}
}

func TestFlagsWinAndListsGrow(t *testing.T) {
	got := vetch(t, []string{"VETCH_LISTEN=127.0.0.1:1", "VETCH_AGENT_IGNORE_CGROUPS=/z"}, "check-config",
		"--listen", "127.0.0.1:2", "--agent-ignore-cgroups", "/a/*", "--agent-ignore-cgroups", "/b,/c", "--insecure")
	require.Equal(t, 0, got.code, got.stderr)
	require.Contains(t, got.stdout, "listen: 127.0.0.1:2 # --listen\n")
	require.Contains(t, got.stdout, `ignore_cgroups: ["/a/*", "/b", "/c"] # --agent-ignore-cgroups`)
	require.Contains(t, got.stdout, "insecure: true # --insecure\n")
	require.Contains(t, got.stdout, "data_dir: /var/lib/vetch # default\n")
}

func TestUnknownVariableIsAWarning(t *testing.T) {
	got := vetch(t, []string{"VETCH_SERVICE_HOST=10.0.0.1"}, "check-config")
	require.Equal(t, 0, got.code)
	require.Contains(t, got.stderr, "warning: VETCH_SERVICE_HOST is not a setting")
}

func TestVersion(t *testing.T) {
	got := vetch(t, nil, "version", "-o", "json")
	var v versionInfo
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	require.Equal(t, Version(), v.Version)
	require.Equal(t, "linux", v.OS)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, vetch(t, nil, "completion", shell).stdout, "vetch", shell)
	}
	require.Contains(t, vetch(t, nil, "__complete", "check-config", "--agent-hook", "").stdout, "syscall")
	require.Contains(t, vetch(t, nil, "__complete", "ma").stdout, "map")
}

func TestCancelledBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, execute(ctx, program{nil, &stdout, &stderr}, []string{"map"}))
}
