package binary

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// behindRouter makes a namespace for clients and one for servers. The servers are reached at an address that is nowhere on this machine, through a
// router that translates both ends of each connection, so that they are outside to those who look at the clients.
func behindRouter(t testing.TB) (clients, servers *namespace, outside, inside string) {
	t.Helper()
	const gateway = "10.213.8.1"
	outside, inside = "10.213.9.9", "10.213.8.2"
	clients, router := joined(t)
	servers = newNamespace(t)
	require.NoError(t, router.do(func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "inner"
		pair := netlink.NewVeth(attributes)
		pair.PeerName, pair.PeerNamespace = "near", netlink.NsFd(servers.handle)
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		return up("inner", gateway+"/24")
	}))
	require.NoError(t, servers.do(func() error { return up("near", inside+"/24") }))
	router.rules(t, fmt.Sprintf(`table ip nat {
		chain in { type nat hook prerouting priority -100; ip daddr %s dnat to %s; };
		chain out { type nat hook postrouting priority 100; masquerade; };
	}`, outside, inside))
	clients.route(t, outside+"/32", farV4)
	return clients, servers, outside, inside
}

// TestOutsideIsNamedByRequests has programs ask servers elsewhere by HTTP and TLS: the servers go by the names that they are asked for.
func TestOutsideIsNamedByRequests(t *testing.T) {
	clients, servers, outside, inside := behindRouter(t)
	_, plain := server(t, how{ns: servers}, "serves-outside", inside+":0")
	dir := t.TempDir()
	ran(t, exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=a", "-keyout", dir+"/key", "-out", dir+"/cert"))
	s, path := installed(t, "/usr/bin/openssl")
	require.NoError(t, os.WriteFile(s.dir+"/file", []byte("content"), 0o644))
	require.NoError(t, servers.do(func() error {
		serve(t, s.dir, exec.Command(path, "s_server", "-accept", inside+":"+s.port(), "-cert", dir+"/cert", "-key", dir+"/key", "-WWW", "-quiet"))
		return poll(t.Context(), func() error { return listening(":" + s.port()) })
	}))
	const n = 5
	ask := func(scheme, name, port, path string) {
		cmd := exec.Command("curl", "-skf", "--http1.1", "-H", "Authorization: "+secret, "--resolve", name+":"+port+":"+outside, scheme+"://"+name+":"+port+path)
		require.NoError(t, clients.do(func() error {
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}))
	}
	for range n {
		ask("http", "shop.example.com", fmt.Sprint(portOf(t, plain)), "/named/ok")
		ask("https", "pay.example.com", s.port(), "/file")
	}
	for _, v := range built.watchers {
		for port, want := range map[string]string{fmt.Sprint(portOf(t, plain)): "shop.example.com", s.port(): "pay.example.com"} {
			err := poll(t.Context(), func() error {
				got := v.mustRead(t).by("vetch_edge_connections_total", labels{"client_kind": "Process", "client": "curl", "port": port}, "server_kind", "server")
				if !maps.Equal(got, map[string]float64{"External " + want: n}) {
					return fmt.Errorf("connections of port %s: %v", port, got)
				}
				return nil
			})
			require.NoError(t, err, "%s hook", v.hook)
		}
		requireNoSecret(t, v)
	}
}
