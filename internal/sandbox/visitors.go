package sandbox

import (
	"strings"
	"sync"
	"time"
)

// The endpoints of the truth log for actions of users of the site, which do not use the API.
const (
	registration  = "user.register"
	profileChange = "user.change"
)

// visitors are users that change their profiles at the next call.
type visitors struct {
	mu      sync.Mutex
	waiting []visitor
}

type visitor struct{ typeName, uuid string }

// after performs the user actions of a fault, after its call and before its end is visible. They affect every third
// record of the call. Every other newly registered user, and every user that signs in, changes the profile at the next
// call.
func (s *Server) after(fault *faultKind, q *request) {
	switch fault.after {
	case strangers, namesakes:
		records, _ := q.records()
		for i := 0; i < len(records); i += 3 {
			attributes, _ := records[i].(map[string]any)
			if emailOf(attributes) == "" {
				continue
			}
			if fault.after == strangers {
				email := emailOf(attributes)
				if s.options.Emails == ExactEmails {
					email = strings.ToUpper(email) // both can be there
				}
				attributes = map[string]any{"email": email, "givenName": "Somebody", "familyName": "Else", "displayName": "registered alone"}
			}
			delete(attributes, "created")
			uuid := s.register(q.call.TypeName, attributes)
			if i%2 == 1 {
				s.visitors.add(visitor{q.call.TypeName, uuid})
			}
		}
	case signIns:
		for i := 0; i < len(q.call.Written); i += 3 {
			s.visitors.add(visitor{q.call.TypeName, q.call.Written[i].UUID})
		}
	}
}

// register creates an entity like a form of the site, and returns its uuid, "" if the address is taken or the data are
// invalid.
func (s *Server) register(typeName string, attributes map[string]any) (uuid string) {
	number, _ := s.entities.arrive(registration)
	call := newCall(registration, number, time.Now())
	call.TypeName, call.Keys = typeName, []string{foldEmail(emailOf(attributes))}
	paths := attributePaths(attributes)
	outcomes, err := s.entities.create(call, []candidate{newCandidate(attributes)}, paths, func(int) bool { return false })
	if err != nil {
		return "" // the next answered call reports it
	}
	return outcomes[0].uuid
}

func (v *visitors) add(one visitor) {
	if one.uuid == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = append(v.waiting, one)
}

// usersReturn changes the profiles of the waiting visitors.
func (s *Server) usersReturn() {
	s.visitors.mu.Lock()
	all := s.visitors.waiting
	s.visitors.waiting = nil
	s.visitors.mu.Unlock()
	for _, v := range all {
		number, _ := s.entities.arrive(profileChange)
		call := newCall(profileChange, number, time.Now())
		call.TypeName = v.typeName
		// A user that was deleted meanwhile changes nothing.
		_, _ = s.entities.change(call, address{uuid: v.uuid}, func(attributes map[string]any) *apiError {
			attributes["displayName"] = "changed in the profile"
			return nil
		})
	}
}
