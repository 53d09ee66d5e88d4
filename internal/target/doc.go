// Package target says what a platform must be able to do so that users can be migrated to it, and how it differs from
// others. An adapter implements Adapter for one platform; conformance.Run is the judge of it. Outside of an adapter nothing
// knows statuses, codes, endpoints or attributes of a platform: only classes of errors (Class) and Traits.
//
// An adapter has no Temporal, no ledger and no pace in it. What is not known it never reports as known: see Answer.
//
// # Records
//
// The mapping makes a JSON object of a record of the input, in the form in which Entity.Attributes shows it again, so that
// both can be compared. The attribute password is common to all targets: plain text, or the object that the mapping makes of
// a hash, {"type": "password-bcrypt", "value": "$2b$…"}; Encode translates it, or refuses what cannot travel.
//
// # Whose is a record
//
// A duplicate is ours if its Mark is that of our record: a tag that nobody else has (NewTag), or an id that the input
// gives, where Traits.Marks. An id of the input proves less: an earlier import of the same input has it as well, so it
// counts only where a call was lost, no other migration of the work place has it, and nothing differs. Without marks,
// package evidence compares content and time; where the target shows no time (Traits.ShowsCreated) nothing without a mark
// is ever ours.
//
// A record may be sent again after a lost answer if the target would then refuse it: by a unique attribute or, with
// Traits.RefusesMark, whatever it has.
package target
