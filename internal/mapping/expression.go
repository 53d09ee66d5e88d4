package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	exprparser "github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// An expression is pure: it sees only the cells of its record, no clock, no zone, no environment. And it is bounded,
// whatever the cells contain. The limits of the expression language do not bound it (its any and all count
// nothing), so: there are no variables, no ranges, no reduce and no loop in a loop; lists come from split, with at most
// maxParts parts; and the cells that an expression uses are short.
const (
	maxNodes  = 200
	maxMemory = 10_000   // elements of lists and objects that one evaluation makes
	maxParts  = 500      // of one split
	maxCells  = 32 << 10 // bytes, all cells of one expression together
	maxText   = 64 << 10 // bytes that one replace or join may give
	maxResult = 1 << 20  // bytes of JSON
)

// functions are the built-in functions of the expression language that are pure and cannot amplify their input.
var functions = []string{
	"all", "none", "any", "one", "filter", "map", "find", "findIndex", "count", "len", "first", "last", "take",
	"trim", "trimPrefix", "trimSuffix", "upper", "lower", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
	"int", "float", "string", "abs", "ceil", "floor", "round", "min", "max", "sort", "uniq", "reverse",
}

// ownFunctions are bounded replacements of built-in functions.
var ownFunctions = []string{"join", "replace", "split"}

// cell is the name of a rule's own cell in its expression, row of the table of all cells.
const (
	cellName = "value"
	rowName  = "row"
)

// expression is a compiled expression over the columns of one header. It is safe for concurrent use.
type expression struct {
	program *vm.Program
	columns []boundColumn
	useCell bool
	gives   any       // a value of the type of its result, nil if that is not known
	pool    sync.Pool // of *evaluation
}

// boundColumn is a column that the expression reads, and the name that the compiled expression has for it.
type boundColumn struct {
	name   string
	column int
}

type evaluation struct {
	vm  vm.VM
	env map[string]any
}

// compileExpression compiles for the columns of a header, by name. Without columns it checks only what does not depend on
// them. cell reports whether the rule has a cell. A name that no
// column has is an *unknownColumn.
func compileExpression(text string, columns map[string]int, cell bool) (*expression, error) {
	env := map[string]any{}
	for _, name := range namesIn(text) { // and not all columns, which may be many
		if _, ok := columns[name]; ok {
			env[rowKey(name)] = ""
		}
	}
	if cell {
		env[cellName] = ""
	}
	check := &checking{env: env, used: map[string]bool{}, withHeader: columns != nil}
	options := []expr.Option{
		expr.Env(env), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(check),
		expr.Function("replace", replaceBounded, new(func(string, string, string) string)),
		expr.Function("split", splitBounded, new(func(string, string) []string)),
		expr.Function("join", joinBounded, new(func([]any, string) string), new(func([]string, string) string)),
	}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	if columns == nil {
		options = append(options, expr.AllowUndefinedVariables())
	}
	program, err := expr.Compile(text, options...)
	if check.err != nil {
		return nil, check.err
	}
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, fmt.Errorf("the expression is wrong at its character %d: %s", at.Column+1, at.Message)
		}
		return nil, fmt.Errorf("the expression is wrong: %w", err)
	}
	e := &expression{program: program, useCell: check.used[cellName] && cell, gives: sample(program.Node().Type())}
	for key := range check.used {
		if column, ok := columns[strings.TrimPrefix(key, rowName+".")]; ok && key != cellName {
			e.columns = append(e.columns, boundColumn{key, column})
		}
	}
	e.pool.New = func() any { return &evaluation{vm: vm.VM{MemoryBudget: maxMemory}, env: map[string]any{}} }
	return e, nil
}

// namesIn returns the identifiers and the texts of an expression, which may be names of columns. An expression that cannot
// be parsed has none, and is refused when it is compiled.
func namesIn(text string) []string {
	var found names
	if tree, err := exprparser.Parse(text); err == nil {
		ast.Walk(&tree.Node, &found)
	}
	return found
}

type names []string

// Visit implements ast.Visitor.
func (n *names) Visit(node *ast.Node) {
	switch node := (*node).(type) {
	case *ast.IdentifierNode:
		*n = append(*n, node.Value)
	case *ast.StringNode:
		*n = append(*n, node.Value)
	}
}

// rowKey is what row["name"] becomes, so that a column of any name is checked and read like one with a plain name.
func rowKey(name string) string { return rowName + "." + name }

// checking visits the parts of an expression: it refuses those that could make it run long or depend on more than the
// record, and finds the columns that are used.
type checking struct {
	env        map[string]any
	used       map[string]bool
	withHeader bool
	err        error
}

// unknownColumn is the error for a name that no column has.
type unknownColumn struct{ name, text string }

func (e *unknownColumn) Error() string { return e.text }

func (c *checking) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checking) refuseColumn(name string) {
	if c.err == nil {
		c.err = &unknownColumn{name, fmt.Sprintf("the expression uses %q, which is not a column of the input", name)}
	}
}

func (c *checking) refuseCall(name string) {
	all := slices.Sorted(slices.Values(slices.Concat(functions, ownFunctions)))
	c.refuse("the expression calls %q, which is not a function here%s; expected one of %s", name, didYouMean(name, all), strings.Join(all, ", "))
}

// Visit implements ast.Visitor.
func (c *checking) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		c.refuse("the expression has a variable or several statements; expected one expression")
	case *ast.PredicateNode:
		if ast.Find(n.Node, isPredicate) != nil {
			c.refuse("the expression has a loop in a loop; expected loops beside each other at most")
		}
	case *ast.BinaryNode:
		if n.Operator == ".." {
			c.refuse("the expression has a range (..); expected lists that are split from a cell")
		}
	case *ast.MemberNode:
		if base, ok := n.Node.(*ast.IdentifierNode); ok && base.Value == rowName {
			name, ok := n.Property.(*ast.StringNode)
			if !ok {
				c.refuse(`the expression has row[…] with something that is not a name; expected a column, as row["First name"]`)
				return
			}
			key := rowKey(name.Value)
			if _, ok := c.env[key]; c.withHeader && !ok {
				c.refuseColumn(name.Value)
				return
			}
			c.used[key] = true
			ast.Patch(node, &ast.IdentifierNode{Value: key})
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if !ok {
			c.refuse("the expression calls a value that is not a function")
		} else if name := strings.TrimPrefix(callee.Value, rowName+"."); !slices.Contains(ownFunctions, name) {
			c.refuseCall(name)
		}
	case *ast.BuiltinNode: // those with a loop are there even if they are disabled
		if !slices.Contains(functions, n.Name) {
			c.refuseCall(n.Name)
		}
	case *ast.IdentifierNode:
		if n.Value == "$env" {
			c.refuse("the expression has $env; expected the names of columns")
		}
		c.identifier(node, n.Value)
	}
}

func isPredicate(n ast.Node) bool {
	_, ok := n.(*ast.PredicateNode)
	return ok
}

// identifier is the cell, row, a function of ours, or a column under its bare name.
func (c *checking) identifier(node *ast.Node, name string) {
	key := rowKey(name)
	switch _, isColumn := c.env[key]; {
	case name == cellName && c.env[cellName] != nil:
		c.used[cellName] = true
	case name == rowName, slices.Contains(ownFunctions, name):
	case isColumn, !c.withHeader:
		c.used[key] = true
		ast.Patch(node, &ast.IdentifierNode{Value: key})
	default:
		c.refuseColumn(name)
	}
}

// run evaluates the expression. Its errors do not hold what the cells hold.
func (e *expression) run(cell string, fields []string) (any, error) {
	v := e.pool.Get().(*evaluation)
	defer e.pool.Put(v)
	size := 0
	if e.useCell {
		size = len(cell)
		v.env[cellName] = cell
	}
	for _, c := range e.columns {
		size += len(fields[c.column])
		v.env[c.name] = fields[c.column]
	}
	if size > maxCells {
		return nil, fmt.Errorf("the cells that the expression uses are %d bytes long; expected at most %d", size, maxCells)
	}
	result, err := v.vm.Run(e.program, v.env)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) { // without its message, which may hold a cell
			return nil, fmt.Errorf("the expression failed at its character %d", at.Column+1)
		}
		return nil, errors.New("the expression failed")
	}
	return result, nil
}

var errTooLong = errors.New("the text becomes too long")

func replaceBounded(params ...any) (any, error) {
	s, from, to := params[0].(string), params[1].(string), params[2].(string)
	if n := strings.Count(s, from); len(s)+n*(len(to)-len(from)) > maxText {
		return nil, errTooLong
	}
	return strings.ReplaceAll(s, from, to), nil
}

func splitBounded(params ...any) (any, error) {
	parts := strings.SplitN(params[0].(string), params[1].(string), maxParts+1)
	if len(parts) > maxParts {
		return nil, errTooLong
	}
	return parts, nil
}

func joinBounded(params ...any) (any, error) {
	parts, ok := params[0].([]string)
	if !ok {
		for _, p := range params[0].([]any) {
			s, ok := p.(string)
			if !ok {
				return nil, errors.New("only texts can be joined")
			}
			parts = append(parts, s)
		}
	}
	size := 0
	for _, p := range parts {
		if size += len(p) + len(params[1].(string)); size > maxText {
			return nil, errTooLong
		}
	}
	return strings.Join(parts, params[1].(string)), nil
}

// sample is a value of a type that an expression can have.
func sample(t reflect.Type) any {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return false
	case reflect.Int:
		return 0
	case reflect.Float64:
		return 0.0
	case reflect.String:
		return ""
	case reflect.Slice:
		return []any{}
	case reflect.Map:
		return map[string]any{}
	}
	return nil
}

// fits reports whether a rule can use the result of an expression: a text, or a value of its type.
func (r *rule) fits(result any) bool {
	if _, ok := result.(string); ok || result == nil {
		return true
	}
	if r.values != nil {
		return false
	}
	switch r.typ {
	case "", typeJSON:
		return true
	case typeBoolean:
		_, ok := result.(bool)
		return ok
	case typeInteger:
		switch n := result.(type) {
		case int, int64:
			return true
		case float64:
			return n == math.Trunc(n) && math.Abs(n) < 1<<53
		}
	case typeDecimal:
		switch result.(type) {
		case int, int64, float64:
			return true
		}
	case typePlural:
		switch result.(type) {
		case []any, []string:
			return true
		}
	case typeObject:
		_, ok := result.(map[string]any)
		return ok
	}
	return false
}

// appendResult appends the result of an expression as JSON.
func appendResult(dst []byte, result any, room int) ([]byte, error) {
	var err error
	start := len(dst)
	switch v := result.(type) {
	case nil:
		return appendNull(dst), nil
	case string:
		dst, err = appendString(dst, v)
	case bool:
		dst = fmt.Append(dst, v)
	case int, int64:
		dst = fmt.Append(dst, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("the expression returned a number that JSON cannot represent")
		}
		text, _ := json.Marshal(v) // finite: no error
		dst = append(dst, text...)
	case []string:
		dst = append(dst, '[')
		for i, s := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendResult(dst, s, room-(len(dst)-start)); err != nil {
				return nil, err
			}
		}
		dst = append(dst, ']')
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendResult(dst, element, room-(len(dst)-start)); err != nil {
				return nil, err
			}
		}
		dst = append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendString(dst, name); err != nil {
				return nil, err
			}
			if dst, err = appendResult(append(dst, ':'), v[name], room-(len(dst)-start)); err != nil {
				return nil, err
			}
		}
		dst = append(dst, '}')
	default:
		return nil, errors.New("the expression returned something other than a text, a number, true or false, a list or an object")
	}
	if err == nil && len(dst)-start > room {
		err = errors.New("the expression returned too much; expected at most 1 MiB")
	}
	if err != nil {
		return nil, err
	}
	return dst, nil
}
