package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// plainManifests is the chart with its default values, for those without helm.
var plainManifests = filepath.Join("deploy", "vetch.yaml")

// variety are ways to install that the chart must render; none is another's subset.
var variety = []struct {
	name   string
	values []string // "key=value"
	want   []string // what must be in the manifests
	not    []string
	custom bool // needs kinds that a plain cluster does not know
}{
	{name: "default values", want: []string{"kind: DaemonSet", "kind: StatefulSet", "kind: Deployment", "volumeClaimTemplates", "kind: NetworkPolicy"}, not: []string{"privileged: true", "insecure", "SYS_ADMIN", "kind: Ingress"}},
	{name: "privileged agents", values: []string{"agent.privileged=true"}, want: []string{"privileged: true"}, not: []string{"capabilities: {drop: [ALL], add"}},
	{name: "agents in pod networks", values: []string{"agent.hostNetwork=false"}, want: []string{"hostNetwork: false"}, not: []string{"ClusterFirstWithHostNet"}},
	{name: "agents alone", values: []string{"server.enabled=false", "watcher.enabled=false", "server.url=https://vetch.example.org:4780"}, want: []string{"server: https://vetch.example.org:4780"}, not: []string{"kind: Deployment", "kind: StatefulSet", "ca_file"}},
	{name: "the server alone", values: []string{"agent.enabled=false", "watcher.enabled=false", "server.persistence.enabled=false"}, want: []string{"kind: StatefulSet"}, not: []string{"kind: DaemonSet", "volumeClaimTemplates"}},
	{name: "given Secrets", values: []string{"tls.mode=secrets", "tls.secrets.server=a", "tls.secrets.watcher=b", "tokens.secret=c"}, want: []string{"secretName: a", "secretName: b", "secretName: c"}, not: []string{"kind: Secret"}},
	{name: "an Ingress", values: []string{"server.ingress.enabled=true", "server.ingress.hosts={vetch.example.org}", "server.ingress.tlsSecret=t"}, want: []string{"kind: Ingress", "host: vetch.example.org"}},
	{name: "settings of the parts", values: []string{"agent.config.agent.hook=syscall", "server.config.metrics.retention_age=30d", "watcher.replicas=1", "agent.spool.hostPath=/var/lib/vetch"}, want: []string{"hook: syscall", "retention_age: 30d", "path: /var/lib/vetch"}, not: []string{"kind: PodDisruptionBudget"}},
	{name: "the kubelet is asked", values: []string{"agent.kubelet.enabled=true"}, want: []string{"resources: [nodes/metrics, nodes/stats]", "token_file: /etc/vetch/kubelet/token", "unverified: true", "fieldPath: status.hostIP"}, not: []string{"ca_file: /etc/vetch/kubelet"}},
	{name: "the kubelet is asked without a watcher", values: []string{"agent.kubelet.enabled=true", "agent.kubelet.verified=true", "watcher.enabled=false"}, want: []string{"ca_file: /etc/vetch/kubelet/ca.crt", "unverified: false"}},
	{name: "a network tracer's socket", values: []string{"agent.tracer.listen=/run/tracer/t.sock"}, want: []string{"listen: /run/tracer/t.sock", "{path: /run/tracer, type: DirectoryOrCreate}", "mountPath: /run/tracer}"}},
	{name: "a network tracer that is read", values: []string{"agent.tracer.source=/opt/t/t.sock", "watcher.enabled=false"}, want: []string{"source: /opt/t/t.sock", "{path: /opt/t, type: Directory}", "mountPath: /opt/t, readOnly: true}"}},
	{name: "monitors and cert-manager", custom: true, values: []string{"agent.podMonitor.enabled=true", "watcher.podMonitor.enabled=true", "server.serviceMonitor.enabled=true", "tls.mode=certManager", "tls.certManager.issuerRef.name=own", "tokens.secret=own"}, want: []string{"kind: PodMonitor", "kind: ServiceMonitor", "kind: Certificate", "listen: :4780"}, not: []string{"kind: Secret"}},
}

// refused are values that the schema must not let through.
var refused = []string{
	"agent.capabilites={BPF}", "tls.mode=none", "image.pullPolicy=Sometimes", "watcher.replicas=0", "server.persistence.size=many", "agent.port=70000",
	"server.url=vetch:4780", "image.digest=sha256:1", "agent.spool.hostPath=spool", "insecure=true", "agent.resources.limits=null",
	"agent.tracer.listen=/t.sock", "agent.tracer.listen=/run/a/t.sock,agent.tracer.source=/run/b/t.sock",
}

// render gives the manifests of the chart with values, as "helm template" does, which asks no cluster.
func (c *cluster) render(ctx context.Context, values ...string) (string, error) {
	args := []string{"template", releaseName, chartFolder, "--namespace", "vetch", "--kube-version", versionOfKubernetes}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	return c.helm(ctx, args...)
}

// checkChart checks the chart without a cluster. Its last line is the total.
func (c *cluster) checkChart(ctx context.Context) error {
	if err := c.build(ctx, "helm"); err != nil {
		return err
	}
	var passed, failed int
	note := func(name string, err error) {
		if err == nil {
			passed++
			fmt.Println("PASS ", name)
			return
		}
		failed++
		fmt.Printf("FAIL  %s\n      %s\n", name, strings.ReplaceAll(err.Error(), "\n", "\n      "))
	}
	_, err := c.helm(ctx, "lint", "--strict", chartFolder)
	note("helm lint is clean", err)
	for _, v := range variety {
		text, err := c.render(ctx, v.values...)
		for _, want := range v.want {
			if err == nil && !strings.Contains(text, want) {
				err = fmt.Errorf("%q is missing", want)
			}
		}
		for _, not := range v.not {
			if err == nil && strings.Contains(text, not) {
				err = fmt.Errorf("%q is there", not)
			}
		}
		note("it renders: "+v.name, err)
	}
	for _, value := range refused {
		_, err := c.render(ctx, value)
		if err == nil {
			err = errors.New("it is taken")
		} else if strings.Contains(err.Error(), "schema") {
			err = nil
		}
		note("the schema refuses "+value, err)
	}
	want, err := c.plain(ctx)
	if err == nil {
		var have []byte
		if have, err = os.ReadFile(plainManifests); err == nil && string(have) != want {
			err = fmt.Errorf("%s is stale: run make manifests and commit the result", plainManifests)
		}
	}
	note(plainManifests+" is what the chart renders", err)
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return errors.New("not all checks passed")
	}
	return nil
}

// ownedByHelm are lines that only helm has a use for.
var ownedByHelm = regexp.MustCompile(`(?m)^ +(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n`)

// plain gives the manifests for those without helm: no Secrets, which deploy/secrets.sh makes, and no tests.
func (c *cluster) plain(ctx context.Context) (string, error) {
	text, err := c.helm(ctx, "template", releaseName, chartFolder, "--namespace", "vetch", "--kube-version", versionOfKubernetes, "--skip-tests",
		"--set", "tls.mode=secrets,tls.secrets.server=vetch-server-tls,tls.secrets.watcher=vetch-watcher-tls,tls.secrets.agent=vetch-agent-tls,tokens.secret=vetch-tokens")
	if err != nil {
		return "", err
	}
	return "# Written by make manifests from chart/ with its default values. It wants the Secrets that deploy/secrets.sh prints (docs/guide/kubernetes.md).\n" +
		ownedByHelm.ReplaceAllString(text, ""), nil
}

// writeManifests writes the plain manifests.
func (c *cluster) writeManifests(ctx context.Context) error {
	if err := c.build(ctx, "helm"); err != nil {
		return err
	}
	text, err := c.plain(ctx)
	if err != nil {
		return err
	}
	return writeFile(plainManifests, text)
}

// acceptManifests asks the API server whether it would take every manifest, field by field, without doing it.
func acceptManifests(ctx context.Context, t *trial) error {
	plain, err := os.ReadFile(plainManifests)
	if err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	all := map[string]string{plainManifests: string(plain)}
	for _, v := range variety {
		if !v.custom {
			if all[v.name], err = t.render(ctx, v.values...); err != nil {
				return err
			}
		}
	}
	var wrong []error
	for name, text := range all {
		// Under another name than the release that is there: what may not change of that is not the question.
		text = strings.ReplaceAll(text, "name: vetch-", "name: other-")
		if _, err := t.kubectlWith(ctx, text, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}
