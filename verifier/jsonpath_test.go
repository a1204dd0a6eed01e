package verifier

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseJSONPath(t *testing.T) {
	name := func(s string) jsonStep { return jsonStep{name: s} }
	at := func(n int) jsonStep { return jsonStep{index: n, array: true} }
	for _, tc := range []struct {
		text string
		want jsonPath // nil: refused
	}{
		{"id", jsonPath{name("id")}},
		{"data.id", jsonPath{name("data"), name("id")}},
		{"items[0].id", jsonPath{name("items"), at(0), name("id")}},
		{"[0].eventId", jsonPath{at(0), name("eventId")}},
		{"a[1][20]", jsonPath{name("a"), at(1), at(20)}},
		{"[3]", jsonPath{at(3)}},
		{"value[*].clientState", jsonPath{name("value"), {array: true, every: true}, name("clientState")}},
		{"[*][0]", jsonPath{{array: true, every: true}, at(0)}},
		{"items[only].id", jsonPath{name("items"), {array: true, only: true}, name("id")}},
		{"a b-c_d$é", jsonPath{name("a b-c_d$é")}},
		{"", nil}, {".", nil}, {".a", nil}, {"a.", nil}, {"a..b", nil}, {"[0].", nil}, {"[0]a", nil}, {"[0]..a", nil},
		{"a.[0]", nil}, {"a[", nil}, {"a]", nil}, {"a[]", nil}, {"a[x]", nil}, {"a[-1]", nil}, {"a[-0]", nil}, {"a[+1]", nil},
		{"a[01]", nil}, {"a[1", nil}, {"a[1]]", nil}, {"a[**]", nil}, {"a[*", nil}, {"a[*]b", nil}, {"a.*", jsonPath{name("a"), name("*")}}, {"a[99999999999999999999]", nil}, {"a[1 ]", nil},
	} {
		got, err := parseJSONPath(tc.text)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.want != nil) {
			t.Errorf("%q: got %v, %v, want %v", tc.text, got, err, tc.want)
		}
		if err != nil && !strings.Contains(err.Error(), "items[0].id") {
			t.Errorf("%q: %v shows no path that is right", tc.text, err)
		}
	}
}

// TestJSONLookup: a scalar is found only where the whole text is valid JSON and
// the path leads to it in one way.
func TestJSONLookup(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tc := range []struct {
		path, text, want string
		err              error
	}{
		{"id", `{"id":"a"}`, "a", nil},
		{"id", " {\n\t\"id\" : \"a\" }\r\n", "a", nil},
		{"id", `{"x":{"id":"b"},"id":"a"}`, "a", nil},
		{"a.b.c", `{"a":{"b":{"c":"d"}}}`, "d", nil},
		{"a[1].b", `{"a":[{"b":"0"},{"b":"1"}]}`, "1", nil},
		{"[0].id", `[{"id":"a"},{"id":"b"}]`, "a", nil},
		{"[1][0]", `[[1],[2]]`, "2", nil},
		{"v[*].s", `{"v":[{"s":"a"}]}`, "a", nil},
		{"v[*].s", `{"v":[{"s":"a"},{"x":1,"s":"a"},{"s":"\u0061"}]}`, "a", nil},
		{"v[*].s", `{"v":[{"s":"a"},{"s":"b"}]}`, "", errDiffer},
		{"v[*].s", `{"v":[{"s":"a"},{"s":"b"},{}]}`, "", errDiffer},
		{"v[*].s", `{"v":[{"s":"a"},{}]}`, "", errNoValue},
		{"v[*].s", `{"v":[{},{"s":"a"}]}`, "", errNoValue},
		{"v[only].s", `{"v":[{"s":"a"}]}`, "a", nil},
		{"v[only].s", `{"v":[{"s":"a"},{"s":"a"}]}`, "", errSeveral},
		{"v[only].s", `{"v":[{"s":"a"},{}]}`, "", errSeveral},
		{"v[only].s", `{"v":[]}`, "", errNoValue},
		{"v[only].s", `{"v":{"s":"a"}}`, "", errNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":null}]}`, "", errNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":["a"]}]}`, "", errNoValue},
		{"v[*].s", `{"v":[{"s":"a"},"a"]}`, "", errNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":"a","s":"a"}]}`, "", errDuplicate},
		{"v[*].s", `{"v":[]}`, "", errNoValue},
		{"v[*].s", `{"v":{"s":"a"}}`, "", errNoValue},
		{"v[*].s", `{"v":[{"s":"a"},]}`, "", errNotJSON},
		{"[*][*]", `[["a","a"],["a"]]`, "a", nil},
		{"[*][*]", `[["a","a"],["b"]]`, "", errDiffer},
		{"[*][*]", `[["a"],[]]`, "", errNoValue},
		{"id", `{"id":0}`, "0", nil},
		{"id", `{"id":-1.50e+10}`, "-1.50e+10", nil}, // as it is written
		{"id", `{"id":123456789012345678901234567890}`, "123456789012345678901234567890", nil},
		{"id", `{"id":true}`, "true", nil},
		{"id", `{"id":false}`, "false", nil},
		{"id", `{"id":""}`, "", nil},
		{"id", `{"id":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\uD83D\uDE00é"}`, "\"\\/\b\f\n\r\tAé€😀é", nil},
		{"id", `{"\u0069d":"a"}`, "a", nil},
		{"é", `{"\u00e9":"a"}`, "a", nil},
		{"id", `{"x":[{},[],"",null,true,false,0,-0,1e5,{"y":{}}],"id":"a"}`, "a", nil},
		{"id", `{"x":{"a":1,"a":2},"id":"a"}`, "a", nil}, // twice, but off the path
		{"id", `{"x":` + deep(500) + `,"id":"a"}`, "a", nil},
		{"id", `{"Id":"b","ID":"c","id":"a"}`, "a", nil},

		{"id", `{}`, "", errNoValue},
		{"id", `{"id":null}`, "", errNoValue},
		{"id", `{"id":{}}`, "", errNoValue},
		{"id", `{"id":{"id":"a"}}`, "", errNoValue},
		{"id", `{"id":[]}`, "", errNoValue},
		{"id", `{"id":["a"]}`, "", errNoValue},
		{"id", `"id"`, "", errNoValue},
		{"id", `1`, "", errNoValue},
		{"id", `null`, "", errNoValue},
		{"a.b", `{"a":"b"}`, "", errNoValue},
		{"a[2]", `{"a":[0,1]}`, "", errNoValue},
		{"a[0]", `{"a":{"0":1}}`, "", errNoValue},
		{"[0]", `{"0":1}`, "", errNoValue},
		{"[0]", `[]`, "", errNoValue},
		{"[0]", `[null]`, "", errNoValue},

		{"id", `{"id":"a","id":"a"}`, "", errDuplicate},
		{"id", `{"id":"a","\u0069\u0064":"b"}`, "", errDuplicate},
		{"id", `{"i\u0064":"a","id":"b"}`, "", errDuplicate},
		{"id", `{"id":null,"id":"a"}`, "", errDuplicate},
		{"id", `{"id":{},"id":"a"}`, "", errDuplicate},
		{"a.b", `{"a":{"b":1},"a":{"b":1}}`, "", errDuplicate},
		{"a.b", `{"a":{"b":1},"a":0}`, "", errDuplicate},
		{"a.b", `{"a":{"b":1,"b":2}}`, "", errDuplicate},
		{"[0].b", `[{"b":1,"b":2}]`, "", errDuplicate},

		{"a.b", `{"a":[{"b":1}]}`, "", errArray},
		{"id", `[{"id":1}]`, "", errArray},
		{"a.b", `{"a":[]}`, "", errArray},

		{"id", ``, "", errNotJSON},
		{"id", ` `, "", errNotJSON},
		{"id", `{"id":"a"}x`, "", errNotJSON},
		{"id", `{"id":"a"}{"id":"b"}`, "", errNotJSON},
		{"id", `{"id":"a"}` + "\x00", "", errNotJSON},
		{"id", "\ufeff" + `{"id":"a"}`, "", errNotJSON},
		{"id", `{"id":"a"`, "", errNotJSON},
		{"id", `{"id":"a",}`, "", errNotJSON},
		{"id", `{"id":"a" "x":1}`, "", errNotJSON},
		{"id", `{,"id":"a"}`, "", errNotJSON},
		{"id", `{"id"}`, "", errNotJSON},
		{"id", `{"id":}`, "", errNotJSON},
		{"id", `{id:"a"}`, "", errNotJSON},
		{"id", `{'id':'a'}`, "", errNotJSON},
		{"id", `{"id":"a"]`, "", errNotJSON},
		{"id", `{"x":[1,],"id":"a"}`, "", errNotJSON},
		{"id", `{"x":[,1],"id":"a"}`, "", errNotJSON},
		{"id", `{"x":[1 2],"id":"a"}`, "", errNotJSON},
		{"id", `{"x":tru,"id":"a"}`, "", errNotJSON},
		{"id", `{"x":True,"id":"a"}`, "", errNotJSON},
		{"id", `{"x":nul`, "", errNotJSON},
		{"id", `{"id":"a" /* no comments */}`, "", errNotJSON},
		{"id", `{"id":01}`, "", errNotJSON},
		{"id", `{"id":+1}`, "", errNotJSON},
		{"id", `{"id":.5}`, "", errNotJSON},
		{"id", `{"id":1.}`, "", errNotJSON},
		{"id", `{"id":1e}`, "", errNotJSON},
		{"id", `{"id":-}`, "", errNotJSON},
		{"id", `{"id":NaN}`, "", errNotJSON},
		{"id", `{"id":Infinity}`, "", errNotJSON},
		{"id", `{"id":0x1}`, "", errNotJSON},
		{"id", `{"id":"a` + "\n" + `"}`, "", errNotJSON},
		{"id", `{"id":"a` + "\x00" + `"}`, "", errNotJSON},
		{"id", `{"id":"\x41"}`, "", errNotJSON},
		{"id", `{"id":"\u12"}`, "", errNotJSON},
		{"id", `{"id":"\u+123"}`, "", errNotJSON},
		{"id", `{"id":"\u_123"}`, "", errNotJSON},
		{"id", `{"id":"\`, "", errNotJSON},
		{"id", `{"id":"\u`, "", errNotJSON},
		{"id", `{"id":"\u123`, "", errNotJSON},
		{"id", `{"id":"` + "\xff" + `"}`, "", errNotJSON},
		{"id", `{"id":"` + "\xc0\xaf" + `"}`, "", errNotJSON},     // overlong
		{"id", `{"id":"` + "\xed\xa0\x80" + `"}`, "", errNotJSON}, // a surrogate in UTF-8
		{"id", `{"x":"` + "\xff" + `","id":"a"}`, "", errNotJSON}, // even off the path
		{"id", `{"` + "\xff" + `":1,"id":"a"}`, "", errNotJSON},
		{"id", `{"id":"\ud800"}`, "", errNotJSON},
		{"id", `{"id":"\udc00"}`, "", errNotJSON},
		{"id", `{"id":"\ud800x"}`, "", errNotJSON},
		{"id", `{"id":"\ud800\u0041"}`, "", errNotJSON},
		{"id", `{"id":"\udc00\ud800"}`, "", errNotJSON},
		{"id", `{"x":` + deep(600) + `,"id":"a"}`, "", errNotJSON},
		{"id", strings.Repeat("[", 1<<20), "", errNotJSON},
		{"id", strings.Repeat(`{"id":`, 1<<18), "", errNotJSON},
	} {
		p, err := parseJSONPath(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.lookup([]byte(tc.text))
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("%s of %.60q: got %q, %v, want %q, %v", tc.path, tc.text, got, err, tc.want, tc.err)
		}
	}
}

// FuzzJSONPaths: what one pass finds for several paths is what each finds alone.
// A text that is no JSON has nothing for any, although one path may have seen
// another reason first.
func FuzzJSONPaths(f *testing.F) {
	paths := []string{"id", "data.id", "items[0].id", "items[only].id", "items[*].id", "items[1].a[*]", "[0].id", "[*].id", "[only].a.b", "a[1][2]", "a", "data"}
	f.Add([]byte(`{"id":1,"data":{"id":"a"},"items":[{"id":1,"a":[1,1]},{"id":1,"a":["x"]}],"a":[0,[1,2,3]]}`))
	f.Add([]byte(`[{"id":1,"i\u0064":2,"a":{"b":null}},{"id":[]}]`))
	f.Add([]byte(`{"items":[{"id":1,"id":1}],"a":{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var values []jsonValue
		for _, path := range paths {
			p, err := parseJSONPath(path)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, jsonValue{path: p})
		}
		lookupAll(text, values)
		for i := range values {
			got, gotErr := values[i].result()
			want, wantErr := values[i].path.lookup(text)
			if got != want || gotErr != wantErr {
				t.Errorf("%s: %q, %v; alone %q, %v", paths[i], got, gotErr, want, wantErr)
			}
		}
	})
}
