"""The DynamoDB table: its layout, and the operations on what it stores.

Layout: partition key `pk`, sort key `sk`, time to live `expires_at`. DynamoDB deletes an item up to
days after `expires_at`, so readers of turns and uploads compare it with the clock, too.

    pk                    sk                        item (`items`)   operations in
    connection#<id>       connection                Connection       connections
    event#<id>            event                     -                connections
    session#<id>          head                      SessionHead      leases, sessions
    session#<id>          request#<id>              Request          leases, sessions
    session#<id>          upload#<digest>#<id>      Upload           uploads
    session#<id>          turn#<number>             memory.Turn      conversations
    budget#<subject>      day#<days since 1970>     -                budget

The two without a `Struct` are only written: an event's item has no attributes of its own, a day's
has `requests` and `tokens`, used or reserved.

<digest> is of the principal that sends the upload; <number> has eight digits, so that the order of
the keys is the order of the turns; <subject> is a `quota_subject`.

Evolution: attributes and their meaning are stable. A reader takes the attributes that it knows and
uses a default for each that is missing, so versions of the function may share a table during a
rollout and after a rollback. A new attribute is a new field with a default in `items`.
tests/store/items has the items of each version, which every later version must read.

Layers: `table` knows DynamoDB and no item; `items` knows the items and no operation; the modules
named above have the operations; `sessions` uses `leases`, which uses `conversations`, `budget` and
`lease_writes`.
"""
