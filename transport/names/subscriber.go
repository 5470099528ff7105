package names

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	version      = 1
	heartbeat    = 15 * time.Second
	maxMessage   = 256 << 10 // bytes that one message of the feed aims at
	maxNodeName  = 253
	gatherWindow = 20 * time.Millisecond // changes that come together go together
)

// subscriber is one stream.
type subscriber struct {
	node string
	at   uint64 // the sequence that was sent; guarded by the feed's lock
}

// Watch serves one subscriber. Part of the generated NamesServer.
func (f *Feed) Watch(req *WatchRequest, stream grpc.ServerStreamingServer[Update]) error {
	switch {
	case req.Version < version:
		return status.Error(codes.InvalidArgument, "the request does not say which versions it can read")
	case len(req.Node) > maxNodeName:
		return status.Error(codes.InvalidArgument, "the name of the node is too long")
	}
	ctx := stream.Context()
	s, err := f.join(req.Node)
	if err != nil {
		return err
	}
	defer f.part(s)
	select {
	case <-f.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.begin(s, req)
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for {
		b := f.after(s.at, s.node)
		if b.snapshot && s.at != 0 {
			f.metrics.snapshots.WithLabelValues("behind").Inc()
		}
		if b.snapshot || len(b.names)+len(b.forgotten) > 0 || b.sequence != s.at {
			if err := f.send(stream, b); err != nil {
				return err
			}
			f.moved(s, b.sequence)
		}
		if b.more == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			if err := stream.Send(&Update{Epoch: f.epoch, Time: time.Now().UnixMilli()}); err != nil {
				return err
			}
		case <-b.more:
			time.Sleep(gatherWindow)
		}
	}
}

// begin decides where a subscriber goes on.
func (f *Feed) begin(s *subscriber, req *WatchRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case req.Epoch == 0 || req.Sequence == 0:
		f.metrics.snapshots.WithLabelValues("first").Inc()
	case req.Epoch != f.epoch:
		f.metrics.snapshots.WithLabelValues("epoch").Inc()
	case !f.reaches(req.Sequence):
		f.metrics.snapshots.WithLabelValues("behind").Inc()
	default:
		s.at = req.Sequence
		f.metrics.resumed.Inc()
	}
}

func (f *Feed) join(node string) (*subscriber, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subscribers) >= f.maxSubscribers {
		f.metrics.dropped.WithLabelValues("subscribers").Inc()
		return nil, status.Errorf(codes.ResourceExhausted, "there are %d subscribers already", f.maxSubscribers)
	}
	s := &subscriber{node: node}
	f.subscribers[s] = struct{}{}
	f.arrive(node)
	return s, nil
}

func (f *Feed) part(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subscribers, s)
	f.leave(s.node)
}

func (f *Feed) moved(s *subscriber, to uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.at = to
}

// send writes a batch in messages of a bounded size. Only the last one has the sequence.
func (f *Feed) send(stream grpc.ServerStreamingServer[Update], b batch) error {
	message := &Update{Epoch: f.epoch, Snapshot: b.snapshot, Forgotten: b.forgotten}
	size := 10 * len(b.forgotten)
	for _, n := range b.names {
		more := proto.Size(n) + 8
		if size+more > maxMessage && size > 0 {
			if err := f.write(stream, message); err != nil {
				return err
			}
			message, size = &Update{Epoch: f.epoch}, 0
		}
		message.Names = append(message.Names, n)
		size += more
	}
	message.Sequence = b.sequence
	return f.write(stream, message)
}

func (f *Feed) write(stream grpc.ServerStreamingServer[Update], u *Update) error {
	u.Time = time.Now().UnixMilli()
	if err := stream.Send(u); err != nil {
		return err
	}
	f.metrics.sent.Add(float64(len(u.Names) + len(u.Forgotten)))
	return nil
}
