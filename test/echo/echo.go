// Package echo is a gRPC service without generated code, for the tests: its messages are plain bytes.
package echo

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// The methods of the service.
const (
	Unary   = "/vetch.test.Echo/Unary"   // answers what it was asked; "fail N" is answered with the code N
	Again   = "/vetch.test.Echo/Again"   // the same, for tests whose calls are to be told from others
	Collect = "/vetch.test.Echo/Collect" // answers how many messages came
	Repeat  = "/vetch.test.Echo/Repeat"  // answers "N text" with the text, N times
	Chat    = "/vetch.test.Echo/Chat"    // answers each message; after "wait" nothing until the call ends
)

// raw passes messages on as they are.
type raw struct{}

func (raw) Name() string                    { return "raw" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = append([]byte(nil), b...); return nil }

// NewServer makes a server with the service alone.
func NewServer(o ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append(o, grpc.ForceServerCodec(raw{}))...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "vetch.test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}, {MethodName: "Again", Handler: unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Collect", Handler: collect, ClientStreams: true},
			{StreamName: "Repeat", Handler: repeat, ServerStreams: true},
			{StreamName: "Chat", Handler: chat, ClientStreams: true, ServerStreams: true},
		},
	}, struct{}{})
	return s
}

//nolint:revive // the parameters are those of grpc.MethodDesc
func unary(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var b []byte
	if err := decode(&b); err != nil {
		return nil, err
	}
	if text, ok := strings.CutPrefix(string(b), "fail "); ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read a code: %w", err)
		}
		return nil, status.Error(codes.Code(n), "as asked")
	}
	return &b, nil
}

func collect(_ any, s grpc.ServerStream) error {
	for n := 0; ; n++ {
		var b []byte
		switch err := s.RecvMsg(&b); err {
		case nil:
		case io.EOF:
			b = strconv.AppendInt(nil, int64(n), 10)
			return s.SendMsg(&b)
		default:
			return err
		}
	}
}

func repeat(_ any, s grpc.ServerStream) error {
	var b []byte
	if err := s.RecvMsg(&b); err != nil {
		return err
	}
	count, text, _ := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return status.Error(codes.InvalidArgument, "no count")
	}
	b = []byte(text)
	for range n {
		if err := s.SendMsg(&b); err != nil {
			return err
		}
	}
	return nil
}

func chat(_ any, s grpc.ServerStream) error {
	for {
		var b []byte
		if err := s.RecvMsg(&b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if string(b) == "wait" {
			<-s.Context().Done()
			return s.Context().Err()
		}
		if err := s.SendMsg(&b); err != nil {
			return err
		}
	}
}

// Client asks the service over one connection.
type Client struct{ *grpc.ClientConn }

// Dial makes a client of the server at an address, in plain text where there is no configuration of TLS. It connects with the first call.
func Dial(address string, encrypting *tls.Config) (Client, error) {
	transport := insecure.NewCredentials()
	if encrypting != nil {
		transport = credentials.NewTLS(encrypting)
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(transport), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	return Client{conn}, err
}

// Ask calls Unary, or any other method with one message each way.
func (c Client) Ask(ctx context.Context, method, text string) (string, error) {
	question, answer := []byte(text), []byte(nil)
	err := c.Invoke(ctx, method, &question, &answer)
	return string(answer), err
}

// Open begins a call with a stream of messages.
func (c Client) Open(ctx context.Context, method string) (Stream, error) {
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	return Stream{s}, err
}

// Stream is a call that goes on.
type Stream struct{ grpc.ClientStream }

// Send sends one message.
func (s Stream) Send(text string) error {
	b := []byte(text)
	return s.SendMsg(&b)
}

// Receive receives one message; io.EOF after the last.
func (s Stream) Receive() (string, error) {
	var b []byte
	err := s.RecvMsg(&b)
	return string(b), err
}
