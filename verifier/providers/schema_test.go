package providers

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

var schemaFile = filepath.Join("..", "..", "docs", "providers", "schema.json")

// schemaNode is what these tests read of a JSON Schema.
type schemaNode struct {
	Description          string
	Ref                  string `json:"$ref"`
	Properties           map[string]*schemaNode
	AdditionalProperties json.RawMessage
	Items                *schemaNode
	Enum                 []string
	Defs                 map[string]*schemaNode `json:"$defs"`
}

// TestSchemaHasEveryField: the schema has the fields of the Go types, all of them and no
// others, each with a description.
func TestSchemaHasEveryField(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root schemaNode
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	resolve := func(n *schemaNode) *schemaNode {
		if n.Ref == "" {
			return n
		}
		target := root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")]
		if target == nil {
			t.Fatalf("%s leads nowhere", n.Ref)
		}
		return target
	}
	compared := 0
	var compare func(path string, n *schemaNode, kind reflect.Type)
	compare = func(path string, n *schemaNode, kind reflect.Type) {
		n = resolve(n)
		switch kind.Kind() {
		case reflect.Pointer:
			compare(path, n, kind.Elem())
		case reflect.Slice:
			if kind.Elem().Kind() == reflect.Struct {
				compare(path+"[]", n.Items, kind.Elem())
			}
		case reflect.Struct:
			compared++
			fields := fieldsOf(kind)
			if string(n.AdditionalProperties) != "false" {
				t.Errorf("%s: other fields are not refused", path)
			}
			for name, property := range n.Properties {
				if property.Description == "" && resolve(property).Description == "" {
					t.Errorf("%s.%s: no description", path, name)
				}
				if fields[name] == nil {
					t.Errorf("%s.%s is in the schema alone", path, name)
				}
			}
			for name, field := range fields {
				if n.Properties[name] == nil {
					t.Errorf("%s.%s is not in the schema", path, name)
					continue
				}
				compare(path+"."+name, n.Properties[name], field)
			}
		}
	}
	compare("", &root, reflect.TypeFor[Provider]())
	if compared < 15 {
		t.Errorf("%d objects compared", compared)
	}
	var algorithms, proofs []string
	for _, a := range verifier.Algorithms {
		algorithms = append(algorithms, string(a))
	}
	for _, k := range Proofs {
		proofs = append(proofs, string(k))
	}
	if got := root.Properties["category"].Enum; !slices.Equal(got, append(CategoryIDs(), "")) { // "": the template
		t.Errorf("categories: %q, want %q", got, CategoryIDs())
	}
	if got := root.Defs["algorithm"].Enum; !slices.Equal(got, algorithms) {
		t.Errorf("algorithms: %q, want %q", got, algorithms)
	}
	if got := root.Defs["vector"].Properties["proof"].Enum; !slices.Equal(got, append(proofs, "")) { // "": the template
		t.Errorf("proofs: %q, want %q", got, proofs)
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	file, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(file)
}

// TestEveryFileIsValid: the schema accepts the catalogue and the template.
func TestEveryFileIsValid(t *testing.T) {
	schema := compileSchema(t)
	names, err := filepath.Glob("*.json")
	if err != nil || len(names) < 300 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schema, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaAndParserRefuseTheSame: what an editor marks is what --check refuses.
func TestSchemaAndParserRefuseTheSame(t *testing.T) {
	schema := compileSchema(t)
	const scheme = `"scheme":{"signature":{"header":"X"}}`
	for file, valid := range map[string]bool{
		`{"id":"a",` + scheme + `}`:                                                              true,
		`{"$schema":"../schema.json","id":"a",` + scheme + `}`:                                   true,
		`{"id":"a",` + scheme + `,"retry":{"span":"1h30m"}}`:                                     true,
		`{"id":"a",` + scheme + `,"sources":[{"url":"u","proves":"p","read":"2026-11-29"}]}`:     true,
		`{"id":"a","scheme":{"signature":{"header":["X","Y"]}}}`:                                 true,
		`{"id":"a",` + scheme + `,"category":"payments"}`:                                        true,
		`{"id":"a",` + scheme + `,"category":"payment"}`:                                         false,
		`{"id":"a",` + scheme + `,"colour":1}`:                                                   false,
		`{"id":"A b",` + scheme + `}`:                                                            false,
		`{"id":"a"}`:                                                                             false,
		`{"id":1,` + scheme + `}`:                                                                false,
		`{"id":"a",` + scheme + `,"aliases":"b"}`:                                                false,
		`{"id":"a",` + scheme + `,"max_body":-1}`:                                                false,
		`{"id":"a",` + scheme + `,"max_body":"1"}`:                                               false,
		`{"id":"a",` + scheme + `,"reject_status":410}`:                                          false,
		`{"id":"a",` + scheme + `,"reject_status":200}`:                                          false,
		`{"id":"a",` + scheme + `,"unique_id":"yes"}`:                                            false,
		`{"id":"a",` + scheme + `,"event_header":1}`:                                             false,
		`{"id":"a",` + scheme + `,"origin_header":{"a":"b"}}`:                                    false,
		`{"id":"a",` + scheme + `,"reads_answer_to":"` + strings.Repeat("a", 101) + `"}`:         false,
		`{"id":"a",` + scheme + `,"retry":{"span":"3 days"}}`:                                    false,
		`{"id":"a",` + scheme + `,"retry":{"header":"X"}}`:                                       false,
		`{"id":"a",` + scheme + `,"sources":[{"url":"u","proves":"p","read":"29.11.2026"}]}`:     false,
		`{"id":"a","scheme":{"signature":{"header":"X"},"algorithm":"hmac-sha255"}}`:             false,
		`{"id":"a","scheme":{"signature":{"header":"X"},"secret_encoding":"base32"}}`:            false,
		`{"id":"a","scheme":{"signature":{"header":"X","syntax":"pairs"}}}`:                      false,
		`{"id":"a","scheme":{"signature":{"header":"X","encoding":"base32"}}}`:                   false,
		`{"id":"a","scheme":{"signature":{"header":"X"},"timestamp":{"header":"T","unit":"h"}}}`: false,
		`{"id":"a",` + scheme + `,"handshake":[{"when":{"jsn":{}},"respond":{}}]}`:               false,
	} {
		refused := validate(t, schema, []byte(file))
		if (refused == nil) != valid {
			t.Errorf("schema: %s: %v", file, refused)
		}
		if _, err := Parse("a.json", []byte(file)); (err == nil) != valid {
			t.Errorf("parser: %s: %v", file, err)
		}
	}
}
