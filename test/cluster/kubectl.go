package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

//go:embed testdata
var manifests embed.FS

// kubectl runs kubectl as the cluster's administrator and returns what it prints.
func (c *cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectlWith(ctx, "", args...)
}

func (c *cluster) kubectlWith(ctx context.Context, input string, args ...string) (string, error) {
	if c.verbose {
		c.say("kubectl %s", strings.Join(args, " "))
	}
	cmd := exec.CommandContext(ctx, c.program("kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig())
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// get reads an object, or a list of them, into a value.
func (c *cluster) get(ctx context.Context, into any, args ...string) error {
	out, err := c.kubectl(ctx, append(append([]string{"get"}, args...), "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("read kubectl's answer: %w", err)
	}
	return nil
}

func (c *cluster) apply(ctx context.Context, objects string) error {
	_, err := c.kubectlWith(ctx, objects, "apply", "--server-side", "--validate=strict", "-f", "-")
	return err
}

// applyFile applies a file of testdata, with words of it replaced.
func (c *cluster) applyFile(ctx context.Context, name string, oldNew ...string) error {
	text, err := manifests.ReadFile("testdata/" + name)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	return c.apply(ctx, strings.NewReplacer(oldNew...).Replace(string(text)))
}
