package command

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A completer completes an argument or the value of a flag.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// completionLimit is how long a completion waits for a gateway: somebody has pressed the
// tab key.
var completionLimit = time.Second

// complete completes what offer makes of the answers of the gateways to a GET of target.
// Without an answer in time there is none, and no message.
func complete[T any](f *adminFlags, target string, offer func(T) []string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		instances, _ := f.instances()
		answers := make(chan []string, len(instances))
		for _, one := range instances {
			go func() {
				_, answer, err := read[T](one, http.MethodGet, target)
				if err != nil {
					answers <- nil
					return
				}
				words := offer(answer)
				for i, word := range words {
					words[i] = plainBut(word, "\t") // before a description
				}
				answers <- words
			}()
		}
		var all []string
		late := time.After(completionLimit)
		for range instances {
			select {
			case words := <-answers:
				all = append(all, words...)
			case <-late:
				return all, cobra.ShellCompDirectiveNoFileComp
			}
		}
		slices.Sort(all)
		return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
	}
}

// once completes the first argument only.
func once(c completer) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, word)
	}
}

// completeNames completes the names of the gateways' handlers.
func (f *adminFlags) completeNames() completer {
	return complete(f, adminapi.StatusPath, func(s adminapi.Status) (names []string) {
		for _, h := range s.Handlers {
			names = append(names, h.Name)
		}
		return names
	})
}

// completeRejections completes the ids of the rejections that the gateways keep, each
// with its reason and handler.
func (f *adminFlags) completeRejections() completer {
	return complete(f, adminapi.RejectionsPath, func(list []adminapi.Rejection) (ids []string) {
		for _, r := range list {
			ids = append(ids, r.ID+"\t"+r.Reason+", "+r.Name)
		}
		return ids
	})
}

// completeStored completes the keys of the deliveries that the inbox holds, each with its
// state and handler.
func (f *adminFlags) completeStored() completer {
	return complete(f, inboxTarget("", url.Values{"limit": {"100"}}), func(v adminapi.Inbox) (keys []string) {
		for _, e := range v.Deliveries {
			keys = append(keys, e.Key+"\t"+e.State+", "+plain(e.Name))
		}
		return keys
	})
}

// completeQueues completes the names of what the inbox holds, configured or not.
func (f *adminFlags) completeQueues() completer {
	return complete(f, adminapi.InboxPath, func(v adminapi.Inbox) (names []string) {
		for _, q := range v.Queues {
			names = append(names, plain(q.Name))
		}
		return names
	})
}

// completeDelivered completes the keys of the newest deliveries, each with its handler and
// outcome.
func (f *adminFlags) completeDelivered() completer {
	return complete(f, adminapi.DeliveriesPath, func(list []adminapi.Delivery) (keys []string) {
		for _, d := range list {
			if d.Delivery != "" {
				keys = append(keys, d.Delivery+"\t"+plain(d.Name+", "+d.Outcome))
			}
		}
		return keys
	})
}

// completeFlag completes the values of a flag.
func completeFlag(cmd *cobra.Command, name string, c completer) {
	_ = cmd.RegisterFlagCompletionFunc(name, c) // fails only for an unknown flag
}

// completeAdapter completes the names of the config adapters in this program.
func completeAdapter(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, module := range caddy.GetModules("caddy.adapters") {
		names = append(names, module.ID.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeParam completes the parameters that the sender has.
func (f *schemeFlags) completeParam(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var provider json.RawMessage
	if f.config != "" {
		if h, err := f.handler(); err == nil {
			provider = h.Provider
		}
	} else if len(args) > 0 {
		provider, _ = schemeOf(args[0])
	}
	var names []string
	if p, err := providers.Read(provider); err == nil && p != nil {
		for _, param := range p.Params {
			if len(param.Values) == 0 {
				names = append(names, param.Name+"=\t"+param.Description)
			}
			for _, value := range param.Values {
				names = append(names, param.Name+"="+value)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
