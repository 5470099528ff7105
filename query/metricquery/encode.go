package metricquery

import (
	"encoding/json"
	"fmt"
	"io"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// exemplarResult is the data of query_exemplars.
type exemplarResult []exemplar.QueryResult

const bufferSize = 32 << 10

// writeReply writes the envelope and the data straight into w, without holding the whole text in memory.
func writeReply(w io.Writer, r *reply) error {
	s := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, w, bufferSize)
	s.WriteRaw(`{"status":"success","data":`)
	if err := writeData(s, r.data); err != nil {
		return err
	}
	warnings, infos := r.notes.AsStrings(r.query, maxNotes, maxNotes)
	writeNotes(s, "warnings", warnings)
	writeNotes(s, "infos", infos)
	s.WriteRaw("}")
	return s.Flush()
}

func writeNotes(s *jsoniter.Stream, field string, notes []string) {
	if len(notes) == 0 {
		return
	}
	s.WriteMore()
	s.WriteObjectField(field)
	s.WriteVal(notes)
}

func writeData(s *jsoniter.Stream, data any) error {
	switch d := data.(type) {
	case *queryResult:
		return writeQuery(s, d)
	case []labels.Labels:
		writeArray(s, len(d), func(i int) { writeLabels(s, d[i]) })
	case exemplarResult:
		writeExemplars(s, d)
	default:
		b, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		_, _ = s.Write(b) // kept in s.Error
	}
	return s.Error
}

// writeArray flushes as it goes: an answer may have millions of points.
func writeArray(s *jsoniter.Stream, n int, element func(i int)) {
	s.WriteArrayStart()
	for i := range n {
		if i > 0 {
			s.WriteMore()
		}
		element(i)
		if s.Buffered() > bufferSize/2 {
			_ = s.Flush() // kept in s.Error
		}
	}
	s.WriteArrayEnd()
}

func writeQuery(s *jsoniter.Stream, q *queryResult) error {
	s.WriteRaw(`{"resultType":"`)
	s.WriteRaw(string(q.value.Type()))
	s.WriteRaw(`","result":`)
	switch v := q.value.(type) {
	case promql.Vector:
		writeArray(s, len(v), func(i int) { writeSample(s, v[i]) })
	case promql.Matrix:
		writeArray(s, len(v), func(i int) { writeSeries(s, v[i]) })
	case promql.Scalar:
		writePoint(s, v.T, v.V)
	case promql.String:
		s.WriteArrayStart()
		jsonutil.MarshalTimestamp(v.T, s)
		s.WriteMore()
		s.WriteString(v.V)
		s.WriteArrayEnd()
	default:
		return fmt.Errorf("encode answer: no form for %s", q.value.Type())
	}
	if q.stats != nil {
		b, err := json.Marshal(q.stats.Builtin())
		if err != nil {
			return fmt.Errorf("encode statistics: %w", err)
		}
		s.WriteMore()
		s.WriteObjectField("stats")
		_, _ = s.Write(b) // kept in s.Error
	}
	s.WriteObjectEnd()
	return s.Error
}

func writeSample(s *jsoniter.Stream, v promql.Sample) {
	s.WriteRaw(`{"metric":`)
	writeLabels(s, v.Metric)
	if v.H != nil {
		s.WriteRaw(`,"histogram":`)
		writeHistogram(s, promql.HPoint{T: v.T, H: v.H})
	} else {
		s.WriteRaw(`,"value":`)
		writePoint(s, v.T, v.F)
	}
	s.WriteObjectEnd()
}

func writeSeries(s *jsoniter.Stream, v promql.Series) {
	s.WriteRaw(`{"metric":`)
	writeLabels(s, v.Metric)
	if len(v.Floats) > 0 {
		s.WriteRaw(`,"values":`)
		writeArray(s, len(v.Floats), func(i int) { writePoint(s, v.Floats[i].T, v.Floats[i].F) })
	}
	if len(v.Histograms) > 0 {
		s.WriteRaw(`,"histograms":`)
		writeArray(s, len(v.Histograms), func(i int) { writeHistogram(s, v.Histograms[i]) })
	}
	s.WriteObjectEnd()
}

func writePoint(s *jsoniter.Stream, t int64, v float64) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(t, s)
	s.WriteMore()
	jsonutil.MarshalFloat(v, s)
	s.WriteArrayEnd()
}

func writeHistogram(s *jsoniter.Stream, p promql.HPoint) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.T, s)
	s.WriteMore()
	jsonutil.MarshalHistogram(p.H, s)
	s.WriteArrayEnd()
}

func writeLabels(s *jsoniter.Stream, ls labels.Labels) {
	s.WriteObjectStart()
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			s.WriteMore()
		}
		first = false
		s.WriteString(l.Name)
		s.WriteRaw(":")
		s.WriteString(l.Value)
	})
	s.WriteObjectEnd()
}

func writeExemplars(s *jsoniter.Stream, found exemplarResult) {
	writeArray(s, len(found), func(i int) {
		s.WriteRaw(`{"seriesLabels":`)
		writeLabels(s, found[i].SeriesLabels)
		s.WriteRaw(`,"exemplars":`)
		writeArray(s, len(found[i].Exemplars), func(j int) {
			x := found[i].Exemplars[j]
			s.WriteRaw(`{"labels":`)
			writeLabels(s, x.Labels)
			s.WriteRaw(`,"value":`)
			jsonutil.MarshalFloat(x.Value, s)
			s.WriteRaw(`,"timestamp":`)
			jsonutil.MarshalTimestamp(x.Ts, s)
			s.WriteObjectEnd()
		})
		s.WriteObjectEnd()
	})
}
