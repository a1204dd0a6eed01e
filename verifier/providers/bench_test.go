package providers

import "testing"

func BenchmarkGet(b *testing.B) {
	for b.Loop() {
		parsed.Clear()
		if _, err := Get("stripe"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAlias(b *testing.B) {
	for b.Loop() {
		parsed.Clear()
		if _, err := Get("cisco_webex"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCatalogue(b *testing.B) {
	for b.Loop() {
		parsed.Clear()
		names, _ := ids()
		for _, name := range names {
			if _, err := load(name); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkStart is what the catalogue adds to a start: reading one provider,
// which a start does for each that its configuration names, and reading all,
// which none does but where a name is unknown.
func BenchmarkStart(b *testing.B) {
	read := func(id string) {
		data, err := files.ReadFile(id + ".json")
		if err == nil {
			_, err = Parse(id+".json", data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			read("stripe")
		}
	})
	b.Run("all", func(b *testing.B) {
		names, err := ids()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for _, id := range names {
				read(id)
			}
		}
	})
}
