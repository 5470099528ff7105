package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority makes the keys and certificates of a cluster, in one folder.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// identity is what one certificate says: who is it, and for servers where.
type identity struct {
	file         string
	name         string // the user
	organization string // the user's group
	dns          []string
	addresses    []string
}

const (
	certificateAge = 10 * 365 * 24 * time.Hour
	admins         = "system:masters"
)

// identities are the certificates of a cluster but its authority's.
// https://kubernetes.io/docs/setup/best-practices/certificates/
func identities() []identity {
	local := []string{"127.0.0.1"}
	list := []identity{
		{
			file: "apiserver", name: "kube-apiserver", addresses: []string{"127.0.0.1", apiService, apiAddress},
			dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		},
		{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", organization: admins},
		{file: "front-proxy-client", name: "front-proxy-client"},
		{file: "admin", name: "admin", organization: admins},
		{file: "kube-controller-manager", name: "system:kube-controller-manager", dns: []string{"localhost"}, addresses: local},
		{file: "kube-scheduler", name: "system:kube-scheduler", dns: []string{"localhost"}, addresses: local},
		{file: "kube-proxy", name: "system:kube-proxy"},
	}
	for _, node := range nodeNames {
		list = append(list, identity{
			file: node, name: "system:node:" + node, organization: "system:nodes", dns: []string{node}, addresses: append(local, ipv4.node(node)),
		})
	}
	return list
}

// makeCertificates fills a folder with ca.crt, a key and a certificate for each identity, a kubeconfig for each, and sa.key with sa.pub.
func makeCertificates(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	a := &authority{dir: dir}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "vetch-test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	key, err := a.issue("ca", template)
	if err != nil {
		return err
	}
	a.key, a.cert = key, template
	for _, id := range identities() {
		if err := a.identify(id); err != nil {
			return err
		}
		if err := writeKubeconfig(filepath.Join(dir, id.file+".kubeconfig"), "https://"+apiAddress+":6443", dir, id.file); err != nil {
			return err
		}
	}
	return a.serviceAccounts()
}

func (a *authority) identify(id identity) error {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: id.name}, DNSNames: id.dns, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if id.organization != "" {
		template.Subject.Organization = []string{id.organization}
	}
	for _, text := range id.addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(text))
	}
	_, err := a.issue(id.file, template)
	return err
}

// issue writes NAME.key and NAME.crt. Without a key of its own the authority signs itself.
func (a *authority) issue(name string, template *x509.Certificate) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(certificateAge)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	return key, errors.Join(a.write(name+".crt", "CERTIFICATE", der), a.writeKey(name+".key", key))
}

// serviceAccounts makes the key that signs the tokens of service accounts.
func (a *authority) serviceAccounts() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("write public key: %w", err)
	}
	return errors.Join(a.writeKey("sa.key", key), a.write("sa.pub", "PUBLIC KEY", der))
}

func (a *authority) writeKey(name string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return a.write(name, "PRIVATE KEY", der)
}

func (a *authority) write(name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig writes how to reach the API server as one identity. The certificates stay where they are.
func writeKubeconfig(file, server, dir, name string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: test, context: {cluster: test, user: user}}]
current-context: test
`, server, filepath.Join(dir, "ca.crt"), filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	return os.WriteFile(file, []byte(text), 0o600)
}
