"""The door: who may call what, how answers look, and the files of the web app."""
