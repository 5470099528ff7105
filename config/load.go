package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

const envPrefix = "VETCH_"

// EnvFile is the variable that names the configuration file where no flag does.
const EnvFile = envPrefix + "CONFIG"

// Flag is one flag that the user gave.
type Flag struct {
	Option Option
	Text   string
}

// Input is where settings come from; a later field wins over an earlier one.
type Input struct {
	Path  string   // of the YAML file; empty: none
	Env   []string // "NAME=value", as os.Environ gives them
	Flags []Flag
}

// Loaded is a configuration and where each of its settings comes from.
type Loaded struct {
	Config
	// Source maps an Option's Key to "FILE:LINE", the variable's name or "--flag"; a key that is missing has its default.
	Source map[string]string
	// Unknown are variables that begin with VETCH_ and mean nothing. They are not an error: Kubernetes makes such
	// variables for a Service that is called vetch.
	Unknown []string
}

// Load overlays Default with the file, the variables and the flags, and validates. Its error lists everything that is wrong,
// one line each, and is written for the user.
func Load(in Input) (*Loaded, error) {
	l := &Loaded{Config: Default(), Source: map[string]string{}}
	if err := errors.Join(l.file(in.Path), l.env(in.Env), l.flags(in.Flags)); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, l.explain(err)
	}
	return l, nil
}

func (l *Loaded) file(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	settings, err := parseYAML(f)
	if err != nil {
		return prefixLines(path, err)
	}
	var errs []error
	for _, s := range settings {
		if err := s.apply(&l.Config); err != nil {
			errs = append(errs, fmt.Errorf("%s: line %d: %s: %w", path, s.line, s.option.Key, err))
		}
		l.Source[s.option.Key] = fmt.Sprintf("%s:%d", path, s.line)
	}
	return errors.Join(errs...)
}

func (l *Loaded) env(environ []string) error {
	var errs []error
	vars := map[string]Option{}
	for _, o := range Options() {
		vars[o.Env()] = o
	}
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == EnvFile {
			continue
		}
		o, ok := vars[name]
		if !ok {
			l.Unknown = append(l.Unknown, fmt.Sprintf("%s is not a setting%s", name, hint(name, knownVariables())))
			continue
		}
		if err := o.Set(&l.Config, text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		l.Source[o.Key] = name
	}
	return errors.Join(errs...)
}

func (l *Loaded) flags(flags []Flag) error {
	var errs []error
	for _, f := range flags {
		if err := f.Option.Set(&l.Config, f.Text); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Option.Flag(), err))
		}
		l.Source[f.Option.Key] = "--" + f.Option.Flag()
	}
	return errors.Join(errs...)
}

// explain adds to each invalid setting where it was set.
func (l *Loaded) explain(err error) error {
	var out []error
	for _, e := range unjoin(err) {
		var invalid *InvalidError
		if errors.As(e, &invalid) && l.Source[invalid.Key] != "" {
			e = fmt.Errorf("%w (set by %s)", e, l.Source[invalid.Key])
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}

func prefixLines(path string, err error) error {
	var out []error
	for _, e := range unjoin(err) {
		out = append(out, fmt.Errorf("%s: %w", path, e))
	}
	return errors.Join(out...)
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
