package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The release that is checked: the chart of this repository, in a namespace of its own.
const (
	releaseName = "vetch"
	chartFolder = "chart"
	component   = "app.kubernetes.io/component="
)

// helm runs helm as the cluster's administrator, with its own files below the cluster's folder, and returns what it prints.
func (c *cluster) helm(ctx context.Context, args ...string) (string, error) {
	if c.verbose {
		c.say("helm %s", strings.Join(args, " "))
	}
	cmd := exec.CommandContext(ctx, c.program("helm"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig())
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		cmd.Env = append(cmd.Env, name+"="+filepath.Join(c.state, "helm"))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// installed installs or upgrades the release, and waits until all of it is ready. It returns helm's notes.
func (t *trial) installed(ctx context.Context, args ...string) (string, error) {
	values, err := manifests.ReadFile("testdata/values.yaml")
	if err != nil {
		return "", fmt.Errorf("read values: %w", err)
	}
	file := t.path("values.yaml")
	if err := writeFile(file, string(values)); err != nil {
		return "", err
	}
	notes, err := t.helm(ctx, append([]string{
		"upgrade", "--install", releaseName, chartFolder, "--namespace", "vetch", "--create-namespace", "--values", file, "--wait", "--timeout", settle.String(),
		"--set", "agent.capabilities={" + strings.Join(possibleRights(), ",") + "}",
	}, args...)...)
	if err != nil {
		state, _ := t.kubectl(ctx, "-n", "vetch", "get", "pods,events")
		return "", fmt.Errorf("%w\n%s\n%s", err, state, t.lastWords(ctx))
	}
	// helm waits for as many as an update must leave, which is not all of them.
	for _, object := range []string{"daemonset/vetch-agent", "deployment/vetch-watcher", "statefulset/vetch-server"} {
		if err := t.await(ctx, object); err != nil {
			return "", err
		}
	}
	return notes, nil
}

// lastWords are the logs of all pods of the release, for an error.
func (t *trial) lastWords(ctx context.Context) string {
	logs, _ := t.kubectl(ctx, "-n", "vetch", "logs", "-l", "app.kubernetes.io/instance="+releaseName, "--tail=15", "--prefix", "--all-containers")
	return logs
}

// remove takes away what an earlier run left in a cluster that was kept: it would be counted again.
func (t *trial) remove(ctx context.Context) error {
	_, err := t.helm(ctx, "uninstall", releaseName, "--namespace", "vetch", "--ignore-not-found", "--wait", "--timeout", settle.String())
	if err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "delete", "namespace", "vetch", "shop", "--ignore-not-found", "--timeout="+settle.String()); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "delete", "persistentvolume", "vetch", "--ignore-not-found", "--timeout="+settle.String()); err != nil {
		return err
	}
	return os.RemoveAll(t.path("volume"))
}

// install makes a volume for the server, installs the chart as it is, and notes what the agents hold in the kernel.
func install(ctx context.Context, t *trial) error {
	if err := os.MkdirAll(t.path("volume"), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := t.applyFile(ctx, "volume.yaml", "$DIR", t.path("volume")); err != nil {
		return err
	}
	notes, err := t.installed(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(notes, "port-forward service/vetch-server") {
		return fmt.Errorf("the notes do not say how to open the page:\n%s", notes)
	}
	return t.trace(ctx)
}

// trace notes what the agents hold in the kernel now.
func (t *trial) trace(ctx context.Context) error {
	pods, err := t.agents(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodeNames {
		p, ok := pods[node]
		if !ok {
			return fmt.Errorf("no agent on %s", node)
		}
		if t.traces[node], err = t.traceOf(p); err != nil {
			return err
		}
	}
	return nil
}

// runHelmTest runs the chart's own test.
func runHelmTest(ctx context.Context, t *trial) error {
	out, err := t.helm(ctx, "test", releaseName, "--namespace", "vetch", "--timeout", settle.String())
	if err != nil {
		return err
	}
	if !strings.Contains(out, "Phase:          Succeeded") {
		return fmt.Errorf("helm test says:\n%s", out)
	}
	return nil
}

// secret reads one key of a Secret of the release.
func (t *trial) secret(ctx context.Context, name, key string) ([]byte, error) {
	var s struct{ Data map[string]string }
	if err := t.get(ctx, &s, "secret", "-n", "vetch", name); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(s.Data[key])
}

// serverClient is who may ask the server for everything, from within the first node, by the address of the server's service.
func (t *trial) serverClient(ctx context.Context) (client *http.Client, base, token string, err error) {
	authority, err := t.secret(ctx, "vetch-server-tls", "ca.crt")
	if err != nil {
		return nil, "", "", err
	}
	page, err := t.secret(ctx, "vetch-tokens", "page")
	if err != nil {
		return nil, "", "", err
	}
	var service struct{ Spec struct{ ClusterIP string } }
	if err := t.get(ctx, &service, "service", "-n", "vetch", "vetch-server"); err != nil {
		return nil, "", "", err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, "", "", errors.New("the server's Secret holds no authority")
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, "4780")
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "vetch-server.vetch.svc", MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialIn(ctx, t.namespace(nodeNames[0]), address)
		},
	}
	return &http.Client{Transport: transport}, "https://vetch-server.vetch.svc:4780", string(page), nil
}

// ask gets an answer of the server's API as JSON.
func (t *trial) ask(ctx context.Context, path string, query url.Values, into any) error {
	client, base, token, err := t.serverClient(ctx)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		return fmt.Errorf("ask the server for %s: %w: %.300s", path, err, text)
	}
	return json.Unmarshal(text, into)
}

// sampled is one series of an answer to a query.
type sampled struct {
	Metric map[string]string
	Value  [2]any   // of a vector: seconds, value as text
	Values [][2]any // of a matrix
}

// query asks the server by PromQL.
func (t *trial) query(ctx context.Context, expression string) ([]sampled, error) {
	var answer struct{ Data struct{ Result []sampled } }
	err := t.ask(ctx, "/api/v1/query", url.Values{"query": {expression}}, &answer)
	return answer.Data.Result, err
}

// refuseStrangers holds that the server shows nothing to who has no token, nor to an agent's.
func refuseStrangers(ctx context.Context, t *trial) error {
	client, base, _, err := t.serverClient(ctx)
	if err != nil {
		return err
	}
	write, err := t.secret(ctx, "vetch-tokens", "write")
	if err != nil {
		return err
	}
	for who, token := range map[string]string{"nobody": "", "an agent": string(write)} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/map", http.NoBody)
		if err != nil {
			return err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("ask the server: %w", err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized && response.StatusCode != http.StatusForbidden {
			return fmt.Errorf("the map is shown to %s: %s", who, response.Status)
		}
	}
	return nil
}
