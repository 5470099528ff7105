package model

import (
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// MetricType is how a family's values are to be read.
type MetricType uint8

// The metric types of the Prometheus exposition formats that we emit.
const (
	Counter MetricType = iota
	Gauge
	Histogram // native, integer counts; Sample.Histogram is set
)

// Family describes all samples of one name.
type Family struct {
	Name string
	Help string
	Unit string // base unit as in OpenMetrics: "seconds", "bytes", ""
	Type MetricType
}

// Sample is the present value of one series.
type Sample struct {
	Family    *Family
	Labels    labels.Labels        // without __name__
	Value     float64              // Counter, Gauge
	Histogram *histogram.Histogram // Histogram; cumulative, owned by the producer until emit returns
	Created   time.Time            // Counter, Histogram: when the series started at zero. Zero for gauges.
}

// Gatherer hands out the present value of all series, family by family. emit must not keep the Sample's Histogram.
type Gatherer interface {
	Gather(emit func(Sample))
}
