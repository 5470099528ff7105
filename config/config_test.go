package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "vetch.yml")
	require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
	return p
}

func flag(t *testing.T, key, text string) Flag {
	t.Helper()
	o, ok := find(key)
	require.True(t, ok, key)
	return Flag{o, text}
}

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	require.NoError(t, c.Validate())
}

func TestEveryFieldIsAnOption(t *testing.T) {
	// A changed value must be seen by the option and by no other: a slip in the table would cross two of them.
	samples := map[string]string{"string": "x", "bool": "true", "int": "7", "duration": "42s", "size": "7GB", "list": "a,b"}
	for _, o := range Options() {
		c := Default()
		require.NoError(t, o.Set(&c, samples[o.Type()]), o.Key)
		require.Equal(t, samples[o.Type()], o.Get(&c), o.Key)
		for _, other := range Options() {
			d := Default()
			if other.Key != o.Key {
				require.Equal(t, other.Get(&d), other.Get(&c), "%s changed %s", o.Key, other.Key)
			}
		}
	}
}

func TestLaterSourceWins(t *testing.T) {
	file := write(t, "listen: 127.0.0.1:1\ndata_dir: /file\nmetrics:\n  interval: 7s\n  retention_age: 30d\n")
	l, err := Load(Input{
		Path:  file,
		Env:   []string{"HOME=/root", "VETCH_LISTEN=127.0.0.1:2", "VETCH_DATA_DIR=/env", "VETCH_CONFIG=ignored", "VETCH_LISTN=x"},
		Flags: []Flag{flag(t, "listen", "127.0.0.1:3")},
	})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3", l.Listen)
	require.Equal(t, "/env", l.DataDir)
	require.Equal(t, 7*time.Second, l.Metrics.Interval)
	require.Equal(t, 30*24*time.Hour, l.Metrics.RetentionAge)
	require.Equal(t, "--listen", l.Source["listen"])
	require.Equal(t, "VETCH_DATA_DIR", l.Source["data_dir"])
	require.Equal(t, file+":4", l.Source["metrics.interval"])
	require.Empty(t, l.Source["log.level"])
	require.Equal(t, []string{`VETCH_LISTN is not a setting; did you mean "VETCH_LISTEN"?`}, l.Unknown)
}

func TestErrorsNameLineAndRemedy(t *testing.T) {
	cases := map[string]struct{ yaml, want string }{
		"unknown key":           {"listne: x", `line 1: unknown key "listne"; did you mean "listen"?`},
		"unknown nested key":    {"metrics:\n  retention_agee: 1d", `line 2: unknown key "metrics.retention_agee"; did you mean "metrics.retention_age"?`},
		"unknown section":       {"metric:\n  interval: 1s", `line 1: unknown key "metric"; did you mean "metrics"?`},
		"nothing near":          {"zzzzzzzzzzzzzz: 1", `line 1: unknown key "zzzzzzzzzzzzzz"`},
		"twice":                 {"listen: a:1\nlisten: b:2", `line 2: key "listen" is already set in line 1`},
		"twice, flat too":       {"log:\n  level: info\nlog.level: warn", `line 3: key "log.level" is already set in line 2`},
		"list for text":         {"listen: [a]", `line 1: listen must be a string, not a list`},
		"keys for text":         {"listen: {a: b}", `line 1: listen must be a string, not keys`},
		"value for a section":   {"metrics: 5", `line 1: metrics must hold keys, not a value`},
		"no value":              {"listen:", `line 1: listen has no value`},
		"top is a list":         {"- a", `line 1: the file must hold keys, not a list`},
		"two documents":         {"listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2", `holds more than one YAML document`},
		"alias":                 {"data_dir: &a /x\nlisten: *a", `line 2: listen must be a string, not an alias`},
		"merge":                 {"metrics: &a {interval: 1s}\nagent: {<<: *a}", `line 2: a key must be a plain word`},
		"list of lists":         {"agent: {ignore_cgroups: [[a]]}", `agent.ignore_cgroups: an item must be text, not a list`},
		"bad duration":          {"metrics:\n  interval: soon", `line 2: metrics.interval: "soon" is not a duration`},
		"negative duration":     {"metrics:\n  interval: -5s", `"-5s" is not a duration`},
		"bad size":              {"metrics: {retention_size: 10 potatoes}", `"10 potatoes" is not a size`},
		"bad bool":              {"insecure: yes", `"yes" is neither true nor false`},
		"bad int":               {"agent: {routes_per_workload: 1e3}", `"1e3" is not a whole number`},
		"bad syntax":            {"listen: [", "did not find"},
		"tab":                   {"metrics:\n\tinterval: 5s", "line 2"},
		"invalid hook":          {"agent: {hook: kprobe}", `agent.hook: must be one of ["auto" "socket" "syscall"], not "kprobe"`},
		"invalid, and where":    {"agent:\n  poll_interval: 1ms", `vetch.yml:2)`},
		"relative data":         {"data_dir: data", `data_dir: must be an absolute path, not "data"`},
		"bad glob":              {"agent: {ignore_cgroups: ['[']}", `"[" is not a glob`},
		"server without scheme": {"server: vetch:4780", `server: must be a URL such as`},
		"password in the URL":   {"server: https://u:p@vetch:4780", `server: must not hold a password`},
		"secret in the clear":   {"server: http://vetch:4780\nship: {username: u, password_file: /dev/null}", `server: a token or password would go there unencrypted`},
		"two secrets":           {"ship: {username: u, password_file: /dev/null, token_file: /dev/null}", `ship.token_file: there can be a token or a user name, not both`},
		"key without one":       {"ship: {cert_file: /dev/null}", `ship.cert_file: a certificate and its ship.key_file need each other`},
		"user without password": {"ship: {username: u}", `ship.username: a user name and ship.password_file need each other`},
		"no token file":         {"ship: {token_file: /does/not/exist}", `ship.token_file: stat /does/not/exist`},
		"small spool":           {"ship: {spool_size: 1MB}", `ship.spool_size: must be 0 (nothing on disk) or at least 2MB, not 1MB`},
		"no cluster":            {"cluster: ''", `cluster: must not be empty`},
		"no web file":           {"web: {config_file: /does/not/exist}", `web.config_file: stat /does/not/exist`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Input{Path: write(t, tc.yaml)})
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Load(Input{Path: write(t, "listne: x\nlog: {level: loud}\nfoo: 1"), Env: []string{"VETCH_INSECURE=maybe"}})
	require.ErrorContains(t, err, "line 1: ")
	require.ErrorContains(t, err, "line 3: ")
	require.ErrorContains(t, err, "VETCH_INSECURE: ")
}

func TestEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n", "metrics:\nagent:\n"} {
		l, err := Load(Input{Path: write(t, text)})
		require.NoError(t, err, "%q", text)
		require.Equal(t, Default(), l.Config, "%q", text)
	}
	_, err := Load(Input{Path: filepath.Join(t.TempDir(), "missing.yml")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestHostileFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n"
	}
	for name, text := range map[string]string{
		"too large":      "# " + strings.Repeat("x", maxFile),
		"alias bomb":     bomb,
		"deep flow":      "listen: " + strings.Repeat("[", 50_000),
		"deep keys":      strings.Repeat("{a: ", 50_000),
		"long key":       strings.Repeat("k", maxFile/2) + ": 1",
		"many keys":      strings.Repeat("a: 1\n", maxFile/8),
		"binary":         "\x00\x01\xff\xfe\x80",
		"zero in a path": `data_dir: "/a\0b"`,
		"cut utf-8":      "listen: \xe2\x82",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Input{Path: write(t, text)})
			require.Error(t, err)
			require.Less(t, len(err.Error()), 8<<10, "the error itself is bounded")
		})
	}
}

func TestListener(t *testing.T) {
	web := write(t, "")
	for _, tc := range []struct {
		listen, web string
		insecure    bool
		want        string
	}{
		{listen: "127.0.0.1:0"}, {listen: "[::1]:4780"}, {listen: "localhost:4780"}, {listen: "127.9.9.9:1"},
		{listen: ":4780", want: "other machines"},
		{listen: "0.0.0.0:4780", want: "other machines"},
		{listen: "[::]:4780", want: "other machines"},
		{listen: "10.0.0.1:4780", want: "other machines"},
		{listen: "vetch.example:4780", want: "other machines"},
		{listen: "0.0.0.0:4780", insecure: true},
		{listen: "0.0.0.0:4780", web: web},
		{listen: "4780", want: "host:port"},
		{listen: "127.0.0.1:", want: "not a port"},
		{listen: "127.0.0.1:65536", want: "not a port"},
		{listen: "127.0.0.1:http", want: "not a port"},
		{listen: "", want: "host:port"},
	} {
		c := Default()
		c.Listen, c.Insecure, c.Web.ConfigFile = tc.listen, tc.insecure, tc.web
		if err := c.Validate(); tc.want == "" {
			require.NoError(t, err, tc.listen)
		} else {
			require.ErrorContains(t, err, tc.want, tc.listen)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1B": 1, "10GB": 10 * GB, "512MiB": 512 << 20, "1.5KiB": 1536, "2 TB": 2 * TB, "1TiB": 1 << 40, "7KB": 7 * KB,
	} {
		var got Size
		require.NoError(t, got.Set(text), text)
		require.Equal(t, want, got, text)
		var again Size
		require.NoError(t, again.Set(got.String()), text)
		require.Equal(t, got, again, text)
	}
	for _, text := range []string{"", "10", "GB", "-1GB", "1e300TB", "NaNGB", "InfGB", "10gb", "1GB1"} {
		var s Size
		require.Error(t, s.Set(text), text)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"5s": 5 * time.Second, "15d": 360 * time.Hour, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "1w": 168 * time.Hour} {
		var d durationValue
		require.NoError(t, d.Set(text), text)
		require.Equal(t, want, time.Duration(d), text)
	}
}

func TestWriteYAMLReadsBackTheSame(t *testing.T) {
	l, err := Load(Input{Env: []string{"VETCH_LOG_LEVEL=debug"}, Flags: []Flag{
		flag(t, "agent.ignore_cgroups", "/system.slice/*, /a b#c"), flag(t, "metrics.retention_size", "512MiB"),
	}})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, l.WriteYAML(&out))
	require.Contains(t, out.String(), "level: debug # VETCH_LOG_LEVEL")
	require.Contains(t, out.String(), "listen: 127.0.0.1:4780 # default")
	again, err := Load(Input{Path: write(t, out.String())})
	require.NoError(t, err, out.String())
	require.Equal(t, l.Config, again.Config)
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"listen: 127.0.0.1:1", "metrics:\n  interval: 5s\n", "agent: {ignore_cgroups: [a, 'b,c']}", "a: &a [*a]", "? [x]\n: y", "---\n---\n", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseYAML(bytes.NewReader(text))
		if err != nil {
			return
		}
		c := Default()
		for _, s := range settings {
			if s.apply(&c) != nil {
				return
			}
		}
		// What is read can be written and read again.
		l := &Loaded{Config: c}
		var out bytes.Buffer
		if err := l.WriteYAML(&out); err != nil {
			t.Fatal(err)
		}
		settings, err = parseYAML(&out)
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		again := Default()
		for _, s := range settings {
			if err := s.apply(&again); err != nil {
				t.Fatalf("read back: %v", err)
			}
		}
		for _, o := range Options() {
			if o.Get(&c) != o.Get(&again) {
				t.Fatalf("%s: %q became %q", o.Key, o.Get(&c), o.Get(&again))
			}
		}
	})
}

// TestGuideListsEverySetting holds docs/guide/configuration.md to the table.
func TestGuideListsEverySetting(t *testing.T) {
	guide, err := os.ReadFile("../docs/guide/configuration.md")
	require.NoError(t, err)
	c := Default()
	for _, o := range Options() {
		value := o.Get(&c)
		if value != "" {
			value = "`" + value + "`"
		}
		row := fmt.Sprintf("| `%s` | `--%s` | `%s` | %s | %s |\n", o.Key, o.Flag(), o.Env(), value, o.Help)
		require.Contains(t, string(guide), row)
	}
}
