package api

import (
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// protection is what a web configuration file protects with.
type protection struct{ tls, users, basic bool }

// parseProtection reads only the keys that matter here; the exporter-toolkit has validated the rest.
func parseProtection(r io.Reader) (protection, error) {
	var c struct {
		TLS struct {
			CertFile   string `yaml:"cert_file"`
			Cert       string `yaml:"cert"`
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
		Users map[string]string `yaml:"basic_auth_users"`
	}
	if err := yaml.NewDecoder(r).Decode(&c); err != nil {
		return protection{}, fmt.Errorf("read web configuration: %w", err)
	}
	return protection{
		tls:   c.TLS.CertFile != "" || c.TLS.Cert != "",
		basic: len(c.Users) > 0,
		users: len(c.Users) > 0 || c.TLS.ClientAuth == "RequireAndVerifyClientCert",
	}, nil
}
