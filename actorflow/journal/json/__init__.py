"""The journal in a folder of JSON: lines that are appended to, and documents for people."""
