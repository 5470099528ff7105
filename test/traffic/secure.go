package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/vetch-dev/vetch/test/conversation"
)

// The ways to do TLS by -tls: on the connection that counts its bytes, on the bare TCP connection, on one that has the net.Conn inside of it behind a function, or behind more.
const (
	tlsCounted = "counted"
	tlsBare    = "bare"
	tlsBehind  = "behind"
	tlsHidden  = "hidden"
)

// behind is a connection around another as client-go's are.
type behind struct {
	onClose func()
	net.Conn
}

// talkative is a connection that is written on when it is closed.
type talkative struct {
	net.Conn
}

// Close writes once more afterwards, as HTTP/2 does sometimes: that goes nowhere.
func (t talkative) Close() error {
	err := t.Conn.Close()
	_, _ = t.Write([]byte("too late"))
	return err
}

// hidden is a connection around another, which is not its first field.
type hidden struct {
	name string
	net.Conn
}

// carried is the connection that TLS is done on.
func carried(kind string, conn net.Conn, tally *conversation.Tally) (net.Conn, error) {
	switch kind {
	case tlsCounted:
		return conversation.Conn{Conn: conn, Tally: tally}, nil
	case tlsBare:
		return conn, nil
	case tlsBehind:
		return &behind{func() {}, conn}, nil
	case tlsHidden:
		return &hidden{kind, conversation.Conn{Conn: conn, Tally: tally}}, nil
	}
	return nil, fmt.Errorf("no such way to do TLS: %q", kind)
}

// dialTLS connects and shakes hands, offering some protocols. No certificate is checked.
func dialTLS(ctx context.Context, kind, address string, tally *conversation.Tally, protocols ...string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tally.Opened()
	if conn, err = carried(kind, conn, tally); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true, NextProtos: protocols})
	if kind == tlsBehind {
		return talkative{secure}, secure.HandshakeContext(ctx)
	}
	return secure, secure.HandshakeContext(ctx)
}

// serving does TLS on what a listener accepts, with a certificate made for it.
type serving struct {
	net.Listener
	kind   string
	config *tls.Config
	tally  *conversation.Tally
}

func serveTLS(listener net.Listener, kind string, tally *conversation.Tally) (net.Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return serving{listener, kind, &tls.Config{NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}, tally}, nil
}

// Accept is that of net.Listener.
func (s serving) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s.tally.Opened()
	if conn, err = carried(s.kind, conn, s.tally); err != nil {
		return nil, err
	}
	return tls.Server(conn, s.config), nil
}
