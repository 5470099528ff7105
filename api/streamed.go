package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/vetch-dev/vetch/model"
)

// streamed answers /metrics with what few holds, and then with what many hands out, one family after another: of the whole of it no copy is made. many
// must hand out each family in one piece, and none that few has.
func streamed(few prometheus.Gatherer, many model.Gatherer, log *promLog) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		families, err := few.Gather()
		if err != nil {
			log.Println(err)
		}
		format := expfmt.NegotiateAccept(r.Header, expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics), expfmt.NewFormat(expfmt.TypeProtoDelim))
		w.Header().Set("Content-Type", string(format))
		out := &familyWriter{to: expfmt.NewEncoder(w, format, expfmt.WithCreatedLines())}
		for _, f := range families {
			out.write(f)
		}
		many.Gather(out.sample)
		out.write(out.family)
		if end, ok := out.to.(expfmt.Closer); ok && out.err == nil {
			out.err = end.Close()
		}
		if out.err != nil && !errors.Is(out.err, io.ErrClosedPipe) && r.Context().Err() == nil {
			log.Println(out.err)
		}
	})
}

// familyWriter holds one family at a time. After an error it writes no more.
type familyWriter struct {
	to     expfmt.Encoder
	err    error
	of     *model.Family // whose samples are collected
	family *dto.MetricFamily
}

func (w *familyWriter) sample(s model.Sample) {
	if w.err != nil {
		return
	}
	if s.Family != w.of {
		w.write(w.family)
		w.of = s.Family
		w.family = &dto.MetricFamily{Name: proto.String(s.Family.Name), Help: proto.String(s.Family.Help), Type: typeOf(s.Family.Type).Enum()}
	}
	w.family.Metric = append(w.family.Metric, metricOf(s))
}

func (w *familyWriter) write(f *dto.MetricFamily) {
	if w.err == nil && f != nil && len(f.Metric) > 0 {
		w.err = w.to.Encode(f)
	}
}
