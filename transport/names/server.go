package names

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	maxRequest    = 16 << 10 // bytes of a subscriber's only message
	maxHeaders    = 16 << 10
	handshakeTime = 10 * time.Second
	fileAge       = 10 * time.Second // how long files that were read are believed
	maxSecretFile = 1 << 20
	authorization = "authorization"
)

// ServerOptions say where the feed is served, and to whom. Files are read again when they change.
type ServerOptions struct {
	Feed              *Feed
	Listen            string // host:port
	CertFile, KeyFile string // both empty: plain text
	ClientCAFile      string // subscribers must have a certificate of one of these; empty: they need none
	TokenFile         string // subscribers must send this bearer token; empty: they need none
}

// Server serves a Feed by gRPC.
type Server struct {
	listen   string
	listener net.Listener // nil before Listen
	grpc     *grpc.Server
}

// NewServer reads the files that it needs. It does not take the port yet.
func NewServer(o ServerOptions) (*Server, error) {
	gate := &gate{file: secretFile{path: o.TokenFile}}
	if _, err := gate.token(); err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(4), grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.StreamInterceptor(gate.check),
	}
	if o.CertFile != "" {
		served := &servedTLS{options: o}
		if _, err := served.config(nil); err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: served.config, NextProtos: []string{"h2"}})))
	}
	s := &Server{listen: o.Listen, grpc: grpc.NewServer(options...)}
	RegisterNamesServer(s.grpc, o.Feed)
	return s, nil
}

// Listen takes the port. A replica that stands by does not: subscribers that find it closed go on to the next at once.
func (s *Server) Listen() (err error) {
	if s.listener, err = net.Listen("tcp", s.listen); err != nil {
		return fmt.Errorf("listen for subscribers of names: %w", err)
	}
	return nil
}

// Addr is where it listens, after Listen.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves, after Listen, until ctx ends; then all streams end.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.grpc.Stop)
	defer stop()
	if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) && ctx.Err() == nil {
		return fmt.Errorf("serve names: %w", err)
	}
	return nil
}

// Close gives the port back, for a server that is not run.
func (s *Server) Close() error {
	s.grpc.Stop()
	if s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// gate lets those in who know the token.
type gate struct{ file secretFile }

// token is nil where none is asked for.
func (g *gate) token() ([]byte, error) {
	if g.file.path == "" {
		return nil, nil
	}
	text, err := g.file.read()
	if err != nil {
		return nil, fmt.Errorf("read the token of subscribers: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return nil, fmt.Errorf("%s holds no token", g.file.path)
	}
	return []byte(token), nil
}

func (g *gate) check(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	want, err := g.token()
	if err != nil {
		return status.Error(codes.Unavailable, "the token cannot be read here")
	}
	if want != nil && !bears(stream.Context(), want) {
		return status.Error(codes.Unauthenticated, "the bearer token is missing or wrong")
	}
	return handler(srv, stream)
}

// bears compares in a time that tells nothing about the token.
func bears(ctx context.Context, want []byte) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(authorization)
	if len(values) != 1 {
		return false
	}
	got, ok := strings.CutPrefix(values[0], "Bearer ")
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256(want)
	return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// servedTLS makes the TLS settings of connections, from files that may be renewed.
type servedTLS struct {
	options ServerOptions
	mu      sync.Mutex
	made    *tls.Config
	at      time.Time
}

func (s *servedTLS) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made != nil && time.Since(s.at) < fileAge {
		return s.made, nil
	}
	certificate, err := tls.LoadX509KeyPair(s.options.CertFile, s.options.KeyFile)
	if err != nil {
		if s.made != nil { // files that are just being replaced
			return s.made, nil
		}
		return nil, fmt.Errorf("read the certificate of the names feed: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	if s.options.ClientCAFile != "" {
		if c.ClientCAs, err = pool(s.options.ClientCAFile); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.made, s.at = c, time.Now()
	return c, nil
}

func pool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return p, nil
}

// secretFile is a small file that is read again when it is old.
type secretFile struct {
	path string
	mu   sync.Mutex
	text []byte
	at   time.Time
}

func (f *secretFile) read() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.text != nil && time.Since(f.at) < fileAge {
		return f.text, nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSecretFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB", f.path)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	f.text, f.at = text, time.Now()
	return text, nil
}
