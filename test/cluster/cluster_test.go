package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newTestCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "vetch-cluster-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary folder
	c, err := newCluster(settings{cache: dir, proxy: "nftables"})
	require.NoError(t, err)
	return c
}

func TestCertificatesAreGoodForTheirUse(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, makeCertificates(dir))
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	for _, id := range identities() {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, id.file+".crt"), filepath.Join(dir, id.file+".key"))
		require.NoError(t, err)
		for _, host := range append(append([]string{""}, id.dns...), id.addresses...) {
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			require.NoError(t, err, "%s for %q", id.file, host)
		}
		require.Equal(t, id.name, pair.Leaf.Subject.CommonName)
		config, err := os.ReadFile(filepath.Join(dir, id.file+".kubeconfig"))
		require.NoError(t, err)
		require.Contains(t, string(config), filepath.Join(dir, id.file+".key"))
	}
	info, err := os.Stat(filepath.Join(dir, "sa.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOnlyOwnProcessesAreEnded(t *testing.T) {
	c := newTestCluster(t)
	require.NoError(t, os.MkdirAll(c.dir, 0o755))
	require.NoError(t, c.start("sleeper", 0, "sleep", "600"))
	pid := c.pid("sleeper")
	require.NotZero(t, pid)
	require.Equal(t, []string{"sleeper"}, c.running())

	// The record of a process that ended long ago, whose pid another has now.
	require.NoError(t, os.WriteFile(c.path("pids", "old"), fmt.Appendf(nil, "%d 1", pid), 0o644))
	require.NoError(t, os.WriteFile(c.path("pids", "broken"), []byte("x"), 0o644))
	require.Zero(t, c.pid("old"))
	c.signal("old", syscall.SIGKILL)
	c.signal("broken", syscall.SIGKILL)
	require.Equal(t, pid, c.pid("sleeper"))

	require.NoError(t, c.clear())
	require.True(t, until(endLimit, func() bool { return c.pid("sleeper") == 0 }))
	require.NoDirExists(t, c.dir)
}

func TestWaitTellsWhatAProcessSaidLast(t *testing.T) {
	c := newTestCluster(t)
	require.NoError(t, os.MkdirAll(c.dir, 0o755))
	require.NoError(t, c.start("failing", 0, "sh", "-c", "echo no such luck; exit 1"))
	err := c.wait(time.Minute, "failing", func() error { return os.ErrNotExist })
	require.ErrorContains(t, err, "failing has ended")
	require.ErrorContains(t, err, "no such luck")
}

func TestOneCommandAtATime(t *testing.T) {
	c := newTestCluster(t)
	held, err := lock(c.state, false)
	require.NoError(t, err)
	require.ErrorIs(t, c.down(), errBusy)
	require.NoError(t, held.Close())
	require.NoError(t, c.down())
}

func TestClustersOfTwoFoldersAreApart(t *testing.T) {
	a, b := newTestCluster(t), newTestCluster(t)
	require.NotEqual(t, a.group, b.group)
	require.NotEqual(t, a.dir, b.dir)
	again, err := newCluster(a.settings)
	require.NoError(t, err)
	require.Equal(t, a.group, again.group)
	_, err = newCluster(settings{cache: a.cache, state: "/run/vetch-cluster-test", proxy: "nftables"})
	require.ErrorContains(t, err, "hidden inside of nodes")
	_, err = newCluster(settings{cache: a.cache, proxy: "ipvs"})
	require.ErrorContains(t, err, "nftables or iptables")
}

func TestKeyFollowsWhatAProgramIsMadeOf(t *testing.T) {
	t.Chdir("../..")
	keys := map[string]string{}
	for _, p := range programs {
		key, err := p.key(t.Context())
		require.NoError(t, err)
		require.Empty(t, keys[key], "%s has the key of another", p.name)
		keys[key] = p.name
		again, err := p.key(t.Context())
		require.NoError(t, err)
		require.Equal(t, key, again)
	}
	t.Chdir(t.TempDir())
	_, err := programs[0].key(t.Context())
	require.ErrorContains(t, err, "root of the repository")
}

// TestVersionsOfKubernetes holds the version that programs say to the modules that they are made of.
func TestVersionsOfKubernetes(t *testing.T) {
	hyper, err := os.ReadFile("programs/hyper/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(hyper), "k8s.io/kubernetes v"+versionOfKubernetes+"\n")
	kubectl, err := os.ReadFile("programs/kubectl/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(kubectl), "k8s.io/kubectl v0."+strings.TrimPrefix(versionOfKubernetes, "1.")+"\n")
}

func TestConfigurationsOfNodesAreFilledIn(t *testing.T) {
	c := newTestCluster(t)
	n := &bootingNode{cluster: c, name: "node2", dir: filepath.Join(c.dir, "node2")}
	require.NoError(t, os.MkdirAll(filepath.Join(n.dir, "cni"), 0o755))
	if err := n.configure(); err != nil {
		require.ErrorContains(t, err, "no CNI plugins here")
		return
	}
	word := regexp.MustCompile(`\$[A-Z]+`)
	for _, file := range []string{"containerd.toml", "kubelet.yaml", "cni/10-bridge.conflist", "resolv.conf"} {
		text, err := os.ReadFile(filepath.Join(n.dir, file))
		require.NoError(t, err)
		require.Empty(t, word.FindAllString(string(text), -1), file)
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "cni/10-bridge.conflist"))
	require.NoError(t, err)
	require.Contains(t, string(text), `[{"subnet": "10.244.2.0/24"}]`)
	require.Equal(t, hasIPv6(), strings.Contains(string(text), `[{"subnet": "fd10:244:0:2::/64"}]`))
	require.True(t, json.Valid(text))
}

func TestLibrariesOfAProgram(t *testing.T) {
	program, err := exec.LookPath("ls")
	require.NoError(t, err)
	libraries, err := librariesOf(t.Context(), program)
	require.NoError(t, err)
	require.NotEmpty(t, libraries)
	var names []string
	for _, library := range libraries {
		require.FileExists(t, library)
		names = append(names, filepath.Base(library))
	}
	require.Contains(t, names, "libc.so.6")
	_, err = librariesOf(t.Context(), "/nonexistent")
	require.ErrorContains(t, err, "/nonexistent")
}

func TestReadEvent(t *testing.T) {
	p, kind, err := readEvent([]byte(`{"type":"MODIFIED","object":{"metadata":{"name":"a","uid":"u"},"status":{"phase":"Running","podIP":"10.0.0.1"}}}`))
	require.NoError(t, err)
	require.Equal(t, []string{"MODIFIED", "a", "u", "Running", "10.0.0.1"}, []string{kind, p.Metadata.Name, p.Metadata.UID, p.Status.Phase, p.Status.PodIP})
	_, _, err = readEvent([]byte(`{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version"}}`))
	require.ErrorContains(t, err, "too old resource version")
	_, _, err = readEvent([]byte(`{"type":"MODIFIED"`))
	require.Error(t, err)
}
