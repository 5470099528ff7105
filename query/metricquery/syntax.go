package metricquery

import (
	"fmt"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// node is one node of a syntax tree as parse_query gives it; the field names are Prometheus's.
type node map[string]any

// describe turns an expression into JSON for editors and tree views.
func describe(e parser.Expr) any {
	switch n := e.(type) {
	case *parser.AggregateExpr:
		return node{"type": "aggregation", "op": n.Op.String(), "expr": describe(n.Expr), "param": describe(n.Param), "grouping": list(n.Grouping), "without": n.Without}
	case *parser.BinaryExpr:
		return node{"type": "binaryExpr", "op": n.Op.String(), "lhs": describe(n.LHS), "rhs": describe(n.RHS), "matching": describeMatching(n.VectorMatching), "bool": n.ReturnBool}
	case *parser.Call:
		args := make([]any, len(n.Args))
		for i, a := range n.Args {
			args[i] = describe(a)
		}
		function := node{"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType}
		return node{"type": "call", "func": function, "args": args}
	case *parser.VectorSelector:
		return describeSelector("vectorSelector", n)
	case *parser.MatrixSelector:
		vector, ok := n.VectorSelector.(*parser.VectorSelector)
		if !ok {
			return describe(n.VectorSelector)
		}
		out := describeSelector("matrixSelector", vector)
		out["range"] = n.Range.Milliseconds()
		out["rangeExpr"] = describeDuration(n.RangeExpr)
		return out
	case *parser.SubqueryExpr:
		return node{
			"type": "subquery", "expr": describe(n.Expr),
			"range": n.Range.Milliseconds(), "rangeExpr": describeDuration(n.RangeExpr),
			"step": n.Step.Milliseconds(), "stepExpr": describeDuration(n.StepExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": describeDuration(n.OriginalOffsetExpr),
			"timestamp": n.Timestamp, "startOrEnd": preprocessor(n.StartOrEnd),
		}
	case *parser.NumberLiteral:
		return node{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64)}
	case *parser.StringLiteral:
		return node{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return node{"type": "parenExpr", "expr": describe(n.Expr)}
	case *parser.UnaryExpr:
		return node{"type": "unaryExpr", "op": n.Op.String(), "expr": describe(n.Expr)}
	case *parser.DurationExpr:
		return describeDuration(n)
	case *parser.StepInvariantExpr:
		return describe(n.Expr)
	case nil:
		return nil
	}
	return node{"type": fmt.Sprintf("%T", e), "text": e.String()}
}

func describeSelector(kind string, n *parser.VectorSelector) node {
	return node{
		"type": kind, "name": n.Name, "matchers": describeMatchers(n.LabelMatchers),
		"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": describeDuration(n.OriginalOffsetExpr),
		"timestamp": n.Timestamp, "startOrEnd": preprocessor(n.StartOrEnd),
		"anchored": n.Anchored, "smoothed": n.Smoothed,
	}
}

func describeMatchers(ms []*labels.Matcher) []node {
	out := make([]node, len(ms))
	for i, m := range ms {
		out[i] = node{"name": m.Name, "value": m.Value, "type": m.Type.String()}
	}
	return out
}

func describeMatching(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	fill := map[string]*float64{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS}
	return node{"card": m.Card.String(), "labels": list(m.MatchingLabels), "on": m.On, "include": list(m.Include), "fillValues": fill}
}

// describeDuration takes the typed nil that an absent duration expression is.
func describeDuration(e parser.Expr) any {
	switch n := e.(type) {
	case *parser.DurationExpr:
		if n == nil {
			return nil
		}
		return node{"type": "durationExpr", "op": n.Op.String(), "lhs": describeDuration(n.LHS), "rhs": describeDuration(n.RHS), "wrapped": n.Wrapped}
	case *parser.NumberLiteral:
		if n == nil {
			return nil
		}
		return node{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64), "duration": n.Duration}
	}
	return describe(e)
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// preprocessor is the word of "@ start()" and "@ end()".
func preprocessor(t parser.ItemType) any {
	if t == 0 {
		return nil
	}
	return t.String()
}
