package jsonpath

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	name := func(s string) step { return step{name: s} }
	at := func(n int) step { return step{index: n, array: true} }
	for _, tc := range []struct {
		text string
		want Path // nil: refused
	}{
		{"id", Path{name("id")}},
		{"data.id", Path{name("data"), name("id")}},
		{"items[0].id", Path{name("items"), at(0), name("id")}},
		{"[0].eventId", Path{at(0), name("eventId")}},
		{"a[1][20]", Path{name("a"), at(1), at(20)}},
		{"[3]", Path{at(3)}},
		{"value[*].clientState", Path{name("value"), {array: true, every: true}, name("clientState")}},
		{"[*][0]", Path{{array: true, every: true}, at(0)}},
		{"items[only].id", Path{name("items"), {array: true, only: true}, name("id")}},
		{"a b-c_d$é", Path{name("a b-c_d$é")}},
		{"", nil}, {".", nil}, {".a", nil}, {"a.", nil}, {"a..b", nil}, {"[0].", nil}, {"[0]a", nil}, {"[0]..a", nil},
		{"a.[0]", nil}, {"a[", nil}, {"a]", nil}, {"a[]", nil}, {"a[x]", nil}, {"a[-1]", nil}, {"a[-0]", nil}, {"a[+1]", nil},
		{"a[01]", nil}, {"a[1", nil}, {"a[1]]", nil}, {"a[**]", nil}, {"a[*", nil}, {"a[*]b", nil}, {"a.*", Path{name("a"), name("*")}}, {"a[99999999999999999999]", nil}, {"a[1 ]", nil},
	} {
		got, err := Parse(tc.text)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.want != nil) {
			t.Errorf("%q: got %v, %v, want %v", tc.text, got, err, tc.want)
		}
		if err != nil && !strings.Contains(err.Error(), "items[0].id") {
			t.Errorf("%q: %v shows no path that is right", tc.text, err)
		}
	}
}

// TestLookup: a scalar is found only if the entire text is valid JSON and the path is
// unambiguous.
func TestLookup(t *testing.T) {
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
		{"v[*].s", `{"v":[{"s":"a"},{}]}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{},{"s":"a"}]}`, "", ErrNoValue},
		{"v[only].s", `{"v":[{"s":"a"}]}`, "a", nil},
		{"v[only].s", `{"v":[{"s":"a"},{"s":"a"}]}`, "", errSeveral},
		{"v[only].s", `{"v":[{"s":"a"},{}]}`, "", errSeveral},
		{"v[only].s", `{"v":[]}`, "", ErrNoValue},
		{"v[only].s", `{"v":{"s":"a"}}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":null}]}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":["a"]}]}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{"s":"a"},"a"]}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{"s":"a"},{"s":"a","s":"a"}]}`, "", ErrDuplicate},
		{"v[*].s", `{"v":[]}`, "", ErrNoValue},
		{"v[*].s", `{"v":{"s":"a"}}`, "", ErrNoValue},
		{"v[*].s", `{"v":[{"s":"a"},]}`, "", ErrNotJSON},
		{"[*][*]", `[["a","a"],["a"]]`, "a", nil},
		{"[*][*]", `[["a","a"],["b"]]`, "", errDiffer},
		{"[*][*]", `[["a"],[]]`, "", ErrNoValue},
		{"id", `{"id":0}`, "0", nil},
		{"id", `{"id":-1.50e+10}`, "-1.50e+10", nil}, // as written
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

		{"id", `{}`, "", ErrNoValue},
		{"id", `{"id":null}`, "", ErrNoValue},
		{"id", `{"id":{}}`, "", ErrNoValue},
		{"id", `{"id":{"id":"a"}}`, "", ErrNoValue},
		{"id", `{"id":[]}`, "", ErrNoValue},
		{"id", `{"id":["a"]}`, "", ErrNoValue},
		{"id", `"id"`, "", ErrNoValue},
		{"id", `1`, "", ErrNoValue},
		{"id", `null`, "", ErrNoValue},
		{"a.b", `{"a":"b"}`, "", ErrNoValue},
		{"a[2]", `{"a":[0,1]}`, "", ErrNoValue},
		{"a[0]", `{"a":{"0":1}}`, "", ErrNoValue},
		{"[0]", `{"0":1}`, "", ErrNoValue},
		{"[0]", `[]`, "", ErrNoValue},
		{"[0]", `[null]`, "", ErrNoValue},

		{"id", `{"id":"a","id":"a"}`, "", ErrDuplicate},
		{"id", `{"id":"a","\u0069\u0064":"b"}`, "", ErrDuplicate},
		{"id", `{"i\u0064":"a","id":"b"}`, "", ErrDuplicate},
		{"id", `{"id":null,"id":"a"}`, "", ErrDuplicate},
		{"id", `{"id":{},"id":"a"}`, "", ErrDuplicate},
		{"a.b", `{"a":{"b":1},"a":{"b":1}}`, "", ErrDuplicate},
		{"a.b", `{"a":{"b":1},"a":0}`, "", ErrDuplicate},
		{"a.b", `{"a":{"b":1,"b":2}}`, "", ErrDuplicate},
		{"[0].b", `[{"b":1,"b":2}]`, "", ErrDuplicate},

		{"a.b", `{"a":[{"b":1}]}`, "", errArray},
		{"id", `[{"id":1}]`, "", errArray},
		{"a.b", `{"a":[]}`, "", errArray},

		{"id", ``, "", ErrNotJSON},
		{"id", ` `, "", ErrNotJSON},
		{"id", `{"id":"a"}x`, "", ErrNotJSON},
		{"id", `{"id":"a"}{"id":"b"}`, "", ErrNotJSON},
		{"id", `{"id":"a"}` + "\x00", "", ErrNotJSON},
		{"id", "\ufeff" + `{"id":"a"}`, "", ErrNotJSON},
		{"id", `{"id":"a"`, "", ErrNotJSON},
		{"id", `{"id":"a",}`, "", ErrNotJSON},
		{"id", `{"id":"a" "x":1}`, "", ErrNotJSON},
		{"id", `{,"id":"a"}`, "", ErrNotJSON},
		{"id", `{"id"}`, "", ErrNotJSON},
		{"id", `{"id":}`, "", ErrNotJSON},
		{"id", `{id:"a"}`, "", ErrNotJSON},
		{"id", `{'id':'a'}`, "", ErrNotJSON},
		{"id", `{"id":"a"]`, "", ErrNotJSON},
		{"id", `{"x":[1,],"id":"a"}`, "", ErrNotJSON},
		{"id", `{"x":[,1],"id":"a"}`, "", ErrNotJSON},
		{"id", `{"x":[1 2],"id":"a"}`, "", ErrNotJSON},
		{"id", `{"x":tru,"id":"a"}`, "", ErrNotJSON},
		{"id", `{"x":True,"id":"a"}`, "", ErrNotJSON},
		{"id", `{"x":nul`, "", ErrNotJSON},
		{"id", `{"id":"a" /* no comments */}`, "", ErrNotJSON},
		{"id", `{"id":01}`, "", ErrNotJSON},
		{"id", `{"id":+1}`, "", ErrNotJSON},
		{"id", `{"id":.5}`, "", ErrNotJSON},
		{"id", `{"id":1.}`, "", ErrNotJSON},
		{"id", `{"id":1e}`, "", ErrNotJSON},
		{"id", `{"id":-}`, "", ErrNotJSON},
		{"id", `{"id":NaN}`, "", ErrNotJSON},
		{"id", `{"id":Infinity}`, "", ErrNotJSON},
		{"id", `{"id":0x1}`, "", ErrNotJSON},
		{"id", `{"id":"a` + "\n" + `"}`, "", ErrNotJSON},
		{"id", `{"id":"a` + "\x00" + `"}`, "", ErrNotJSON},
		{"id", `{"id":"\x41"}`, "", ErrNotJSON},
		{"id", `{"id":"\u12"}`, "", ErrNotJSON},
		{"id", `{"id":"\u+123"}`, "", ErrNotJSON},
		{"id", `{"id":"\u_123"}`, "", ErrNotJSON},
		{"id", `{"id":"\`, "", ErrNotJSON},
		{"id", `{"id":"\u`, "", ErrNotJSON},
		{"id", `{"id":"\u123`, "", ErrNotJSON},
		{"id", `{"id":"` + "\xff" + `"}`, "", ErrNotJSON},
		{"id", `{"id":"` + "\xc0\xaf" + `"}`, "", ErrNotJSON},     // overlong
		{"id", `{"id":"` + "\xed\xa0\x80" + `"}`, "", ErrNotJSON}, // a surrogate in UTF-8
		{"id", `{"x":"` + "\xff" + `","id":"a"}`, "", ErrNotJSON}, // even off the path
		{"id", `{"` + "\xff" + `":1,"id":"a"}`, "", ErrNotJSON},
		{"id", `{"id":"\ud800"}`, "", ErrNotJSON},
		{"id", `{"id":"\udc00"}`, "", ErrNotJSON},
		{"id", `{"id":"\ud800x"}`, "", ErrNotJSON},
		{"id", `{"id":"\ud800\u0041"}`, "", ErrNotJSON},
		{"id", `{"id":"\udc00\ud800"}`, "", ErrNotJSON},
		{"id", `{"x":` + deep(600) + `,"id":"a"}`, "", ErrNotJSON},
		{"id", strings.Repeat("[", 1<<20), "", ErrNotJSON},
		{"id", strings.Repeat(`{"id":`, 1<<18), "", ErrNotJSON},
	} {
		p, err := Parse(tc.path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Lookup([]byte(tc.text))
		if !errors.Is(err, tc.err) || err == nil && got != tc.want {
			t.Errorf("%s of %.60q: got %q, %v, want %q, %v", tc.path, tc.text, got, err, tc.want, tc.err)
		}
	}
}

// FuzzJSONPaths: one pass for several paths finds what each finds alone. Text that is
// not JSON has no results, although one path may have seen another reason first.
func FuzzJSONPaths(f *testing.F) {
	paths := []string{"id", "data.id", "items[0].id", "items[only].id", "items[*].id", "items[1].a[*]", "[0].id", "[*].id", "[only].a.b", "a[1][2]", "a", "data"}
	f.Add([]byte(`{"id":1,"data":{"id":"a"},"items":[{"id":1,"a":[1,1]},{"id":1,"a":["x"]}],"a":[0,[1,2,3]]}`))
	f.Add([]byte(`[{"id":1,"i\u0064":2,"a":{"b":null}},{"id":[]}]`))
	f.Add([]byte(`{"items":[{"id":1,"id":1}],"a":{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var values []Value
		for _, path := range paths {
			p, err := Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, Value{Path: p})
		}
		LookupAll(text, values)
		for i := range values {
			got, gotErr := values[i].Text()
			want, wantErr := values[i].Path.Lookup(text)
			if got != want || gotErr != wantErr {
				t.Errorf("%s: %q, %v; alone %q, %v", paths[i], got, gotErr, want, wantErr)
			}
		}
	})
}

// TestAMemberStandsAlone: if a member is all that is signed, no object on the path
// has another one that case-insensitive parsers treat as the same.
func TestAMemberStandsAlone(t *testing.T) {
	for text, want := range map[string]error{
		`{"a":{"key":"1"},"b":2,"ab":{"Key":3}}`: nil,
		`{"a":{"key":"1","keys":2,"ke":3}}`:      nil,
		`{"a":{"key":"1","Key":2}}`:              errSpelling,
		`{"a":{"KEY":2,"key":"1"}}`:              errSpelling,
		`{"A":{"key":2},"a":{"key":"1"}}`:        errSpelling,
		`{"a":{"key":"1"},"\u0041":{}}`:          errSpelling,
		`{"a":{"\u212aey":"2","key":"1"}}`:       errSpelling,
		`{"a":{"` + "K" + `ey":"2","key":"1"}}`:  errSpelling,
		`{"a":{"Key":"2"}}`:                      errSpelling,
	} {
		v := []Value{{Path: Path{{name: "a"}, {name: "key"}}, Alone: true}}
		LookupAll([]byte(text), v)
		if got, err := v[0].Text(); err != want || err == nil && got != "1" {
			t.Errorf("%s: %q, %v; want %v", text, got, err, want)
		}
	}
}
