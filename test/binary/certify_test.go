package binary

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// certify writes a certificate for 127.0.0.1 and its key into a folder, as cert.pem and key.pem.
func certify(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		var owner syscall.Stat_t
		require.NoError(t, syscall.Stat(dir, &owner))
		if owner.Uid == 0 { // other servers read it when they are root no more
			require.NoError(t, os.Chmod(path, 0o644))
		}
		require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid))) // databases want it to be their own
	}
}

// awaitProbed waits until vetch looks into a program or library that does TLS, by a part of its path.
func awaitProbed(t testing.TB, watchers []*vetch, part string) {
	t.Helper()
	for _, v := range watchers {
		require.NoError(t, poll(t.Context(), func() error {
			if !v.looksInto(part) {
				return fmt.Errorf("nothing called %s is probed", part)
			}
			return nil
		}), "%s hook", v.hook)
	}
}

// looksInto reads in the log what files are probed.
func (v *vetch) looksInto(part string) bool {
	probed := map[string]bool{}
	for line := range strings.Lines(v.log.String()) {
		_, path, found := strings.Cut(line, `msg="looking into TLS`)
		if !found {
			continue
		}
		_, path, _ = strings.Cut(path, "path=")
		path, _, _ = strings.Cut(path, " ")
		probed[strings.TrimSpace(path)] = !strings.Contains(line, `msg="looking into TLS ends"`)
	}
	for path, now := range probed {
		if now && strings.Contains(path, part) {
			return true
		}
	}
	return false
}

// startProbed starts a server and waits until vetch looks into the file that does its TLS, by a part of its path; "" stands for the server's
// own. A file is probed once, for all processes: that is so from then on for the clients too.
func startProbed(t testing.TB, part string, start func(testing.TB) service) service {
	t.Helper()
	s := start(t).await(t)
	if part == "" {
		part = "/" + s.workload
	}
	awaitProbed(t, built.watchers, part)
	return s
}
