"""What commands count, and how it is read: recorder, snapshot, streams, exporters."""
