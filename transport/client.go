package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	configutil "github.com/prometheus/common/config"
)

const (
	sendTimeout   = 30 * time.Second // of one request
	maxAnswerText = 2048             // bytes of an answer that are read
	maxRetryAfter = 5 * time.Minute  // what a server may ask for
)

// Credentials say how a Sender proves who it is, and whom it believes. Files are read again when they change. At most one of a token and a password
// may be given.
type Credentials struct {
	CAFile            string // certificates of who may have signed the server's; empty: those of the system
	CertFile, KeyFile string // our own certificate
	TokenFile         string // holds a bearer token
	Username          string
	PasswordFile      string
}

// client sends one request at a time.
type client struct {
	url       string
	userAgent string
	http      *http.Client
}

func newClient(to *url.URL, c Credentials, userAgent string) (*client, error) {
	conf := configutil.HTTPClientConfig{
		TLSConfig: configutil.TLSConfig{
			CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, MinVersion: configutil.TLSVersions["TLS12"],
		},
		ProxyConfig: configutil.ProxyConfig{ProxyFromEnvironment: true},
		EnableHTTP2: true,
		// Redirects are not followed: credentials must not go where nobody meant them to.
		FollowRedirects: false,
	}
	if c.TokenFile != "" {
		conf.Authorization = &configutil.Authorization{Type: "Bearer", CredentialsFile: c.TokenFile}
	}
	if c.Username != "" {
		conf.BasicAuth = &configutil.BasicAuth{Username: c.Username, PasswordFile: c.PasswordFile}
	}
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("credentials of the server: %w", err)
	}
	h, err := configutil.NewClientFromConfig(conf, "ship")
	if err != nil {
		return nil, fmt.Errorf("credentials of the server: %w", err)
	}
	return &client{url: to.String(), userAgent: userAgent, http: h}, nil
}

// verdict is what a server says of one request.
type verdict struct {
	status  int           // 0: no answer
	text    string        // of an answer that is no success, or why there is none
	body    []byte        // of any answer
	after   time.Duration // that the server asks to wait
	written written
	lost    int  // of a success: what was refused all the same
	broken  bool // it was not sent, because it is no batch
}

// written is what the server says it has taken of remote write; known if it says so at all, which it must for version 2.0.
type written struct {
	known               bool
	samples, histograms int
}

// post sends one body and reads the answer, of which only the beginning matters.
func (c *client) post(ctx context.Context, headers map[string]string, body []byte) verdict {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return verdict{text: err.Error()}
	}
	req.Header.Set("User-Agent", c.userAgent)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return verdict{text: err.Error()}
	}
	// An answer that is longer, or does not end, costs its connection and nothing else.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerText))
	_ = resp.Body.Close() // what was wanted of it was read
	out := verdict{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After")), written: writtenOf(resp.Header)}
	out.body = text
	if out.status/100 != 2 {
		out.text = clean(string(text))
	}
	if out.status/100 == 3 {
		out.text = "it answers with a redirect to " + clean(resp.Header.Get("Location")) + ", which is not followed"
	}
	return out
}

// clean makes a server's words fit for a line of the log.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text[:min(len(text), 300)], ""))
	return strings.TrimSpace(text)
}

// retryAfter reads seconds or a date, RFC 9110, section 10.2.3.
func retryAfter(text string) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}

func writtenOf(h http.Header) (w written) {
	number := func(what string) int {
		text := h.Get("X-Prometheus-Remote-Write-" + what + "-Written")
		n, err := strconv.ParseUint(text, 10, 31)
		w.known = w.known || err == nil
		return int(n)
	}
	w.samples, w.histograms = number("Samples"), number("Histograms")
	return w
}
