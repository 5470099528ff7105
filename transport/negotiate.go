package transport

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/klauspost/compress/snappy"
)

// version is the message of the request.
type version int

const (
	versionUnknown version = iota
	version1
	version2
)

// String is the value of the label "version".
func (v version) String() string { return [...]string{"unknown", "1.0", "2.0"}[v] }

// negotiate finds the message by the content type. Without one it is 1.0, as old senders mean it.
func negotiate(r *http.Request) (version, error) {
	if r.Method != http.MethodPost {
		return versionUnknown, refuse(http.StatusMethodNotAllowed, "method", "remote write is sent by POST")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "snappy" {
		return versionUnknown, refuse(http.StatusUnsupportedMediaType, "encoding", "content encoding %.40q is not supported; use snappy", e)
	}
	t := r.Header.Get("Content-Type")
	if t == "" {
		return version1, nil
	}
	kind, params, err := mime.ParseMediaType(t)
	if err != nil || kind != "application/x-protobuf" {
		return versionUnknown, refuse(http.StatusUnsupportedMediaType, "content_type", "content type %.80q is not supported; use application/x-protobuf", t)
	}
	switch params["proto"] {
	case "", "prometheus.WriteRequest":
		return version1, nil
	case "io.prometheus.write.v2.Request":
		return version2, nil
	}
	return versionUnknown, refuse(http.StatusUnsupportedMediaType, "content_type",
		"message %.80q is not supported; use prometheus.WriteRequest or io.prometheus.write.v2.Request", params["proto"])
}

// keepBuffer is the size over which a buffer is given back to the garbage collector.
const keepBuffer = 8 << 20

// buffers are the memory of one request, used again by the next.
type buffers struct {
	packed, plain []byte
	batch         scratch
}

func (w *RemoteWrite) putBuffers(b *buffers) {
	if cap(b.packed) > keepBuffer {
		b.packed = nil
	}
	if cap(b.plain) > keepBuffer {
		b.plain = nil
	}
	b.batch.reset()
	w.buffers.Put(b)
}

// read gives the body without compression; it is valid until the buffers go back.
func (b *buffers) read(rw http.ResponseWriter, r *http.Request, maxBody, maxDecoded int64) ([]byte, error) {
	if r.ContentLength > maxBody {
		// Read some of it, so that the sender comes to read the answer; the result does not matter.
		_, _ = io.CopyN(io.Discard, r.Body, maxBody)
		return nil, tooLarge(maxBody)
	}
	var err error
	b.packed, err = readAll(http.MaxBytesReader(rw, r.Body, maxBody), b.packed[:0], r.ContentLength)
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return nil, tooLarge(maxBody)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "body", "read body: %w", err)
	}
	n, err := snappy.DecodedLen(b.packed)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "snappy", "body is not snappy: %w", err)
	}
	// Snappy does not shrink below a thirtieth or so. A body that says more is broken or a bomb: its memory must not be taken before that is known.
	if n > 64*len(b.packed)+1024 {
		return nil, refuse(http.StatusBadRequest, "snappy", "body is not snappy: %d bytes cannot hold %d", len(b.packed), n)
	}
	if int64(n) > maxDecoded {
		return nil, refuse(http.StatusRequestEntityTooLarge, "too_large", "the body has %d bytes without compression and the limit is %d; send fewer samples in one request", n, maxDecoded)
	}
	if cap(b.plain) < n {
		b.plain = make([]byte, n)
	}
	b.plain, err = snappy.Decode(b.plain[:n], b.packed)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "snappy", "body is not snappy: %w", err)
	}
	return b.plain, nil
}

func tooLarge(limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "too_large", "the body is over the limit of %d bytes; send fewer samples in one request", limit)
}

// readAll is io.ReadAll into memory that is there, believing the announced length only up to keepBuffer.
func readAll(r io.Reader, into []byte, length int64) ([]byte, error) {
	if want := min(length+1, keepBuffer); int64(cap(into)) < want {
		into = make([]byte, 0, want)
	}
	for {
		if len(into) == cap(into) {
			into = append(into, 0)[:len(into)]
		}
		n, err := r.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		if errors.Is(err, io.EOF) {
			return into, nil
		}
		if err != nil {
			return into, err
		}
	}
}
