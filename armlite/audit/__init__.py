"""An audit of a judge (`armlite audit`): how far its verdicts follow place, length, markup, who wrote a response, and
orders that stand in what it judges. Each change is laid beside a twin that differs in nothing else.
"""
